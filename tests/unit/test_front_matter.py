"""What the comments at the top of a saved query's file mean, and which are mistakes."""

import pytest

from proxy.query.front_matter import parse_front_matter


def parse(text):
    return parse_front_matter(text, "stem")


def mistake(text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the sentence is looked at
        parse(text)
    return str(caught.value)


def test_every_key_is_read():
    front, sql = parse(
        "-- name: top-users_2\n-- description: The best: a list\n-- param: id int4\n"
        "-- param: least double precision = 1.50\n-- read_only: true\n-- roles: a, B c\nselect 1\n"
    )
    assert (front.name, front.description) == ("top-users_2", "The best: a list")
    assert [(p.name, p.kind.name) for p in front.params.values()] == [
        ("id", "int4"),
        ("least", "float8"),
    ]
    assert front.read_only
    assert front.roles == ("a", "B c")
    assert sql == "select 1\n"


def test_everything_is_optional():
    front, sql = parse("select 1")
    assert (front.name, front.description, front.params) == ("stem", None, {})
    assert (front.read_only, front.roles, sql) == (False, None, "select 1")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_break_and_blank_lines_are_taken(end):
    front, sql = parse(end.join(["", "  -- read_only: true", "", "--", "--name:x", "", "select 1"]))
    assert (front.read_only, front.name, sql) == (True, "x", "select 1")


@pytest.mark.parametrize("first", ["select 1", "/* a comment */ select 1"])
def test_front_matter_ends_at_the_first_line_of_another_kind(first):
    front, sql = parse(f"-- name: a\n{first}\n-- name: b")
    assert (front.name, sql) == ("a", f"{first}\n-- name: b")


def test_a_file_of_comments_alone_has_no_statement():
    assert parse("-- name: a")[1] == ""


@pytest.mark.parametrize(
    ("default", "bytes_"),
    [("10", b"10"), ("1.10", b"1.10"), ('"a = b"', b'"a = b"'), ("null", b"null"), ("[1]", b"[1]")],
)
def test_a_default_is_json(default, bytes_):
    front, _ = parse(f"-- param: a text = {default}")
    assert bytes(front.params["a"].default) == bytes_


def test_a_param_without_a_default_has_none():
    assert parse("-- param: a text")[0].params["a"].default is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-- nmae: a", "line 1: unknown key 'nmae'; did you mean 'name'?"),
        ("\n-- Name: a", "line 2: unknown key 'Name'; did you mean 'name'?"),
        ("-- just words", "line 1 is not `-- key: value`"),
        ("-- read_only true", "line 1 is not `-- key: value`"),
        ("-- name: a\n-- name: a", "line 2: name is there twice"),
        ("-- roles:", "line 1: roles is empty"),
        ("-- roles: a,,b", "line 1: roles are names with commas between: a name is empty"),
        ("-- name: A", "line 1: the name may have a to z"),
        ("-- name: a/b", "line 1: the name may have a to z"),
        ("-- name: " + "a" * 65, "line 1: the name may have a to z"),
        ("-- read_only: yes", "line 1: read_only must be true or false"),
        ("-- param: id", "line 1: a param is `name type`"),
        ("-- param: id int4 =", "line 1: a param is `name type`"),
        ("-- param: 1d int4", "line 1: a param is `name type`"),
        ("-- param: id itn4", "line 1: param id has the unknown type 'itn4'; did you mean 'int4'?"),
        ("-- param: m mood", "declare it as text and write :m::mood in the statement"),
        ("-- param: a int4\n-- param: a int8", "line 2: param a is there twice"),
        ("-- param: a text = open", "line 1: the default of a is not JSON"),
        ("-- param: a json = " + "[" * 100_000, "line 1: the default of a is not JSON"),
        ('-- param: a text = "\\u0000"', "line 1: the default of a contains \\u0000"),
    ],
)
def test_mistake_is_said_with_its_line(text, sentence):
    assert sentence in mistake(text)


def test_a_file_whose_name_is_no_name_needs_one():
    with pytest.raises(ValueError, match="the file's name may have a to z"):
        parse_front_matter("select 1", "Top Users")
    assert parse_front_matter("-- name: top\nselect 1", "Top Users")[0].name == "top"
