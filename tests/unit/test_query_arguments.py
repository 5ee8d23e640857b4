"""The arguments of `pgsidecar query`."""

import argparse
import json

import pytest

from proxy.command import argument
from proxy.command.argument import build_order, parse_address, parse_param, parse_seconds
from proxy.command.failure import Failure


def build(*words, default="ndjson"):
    parser = argparse.ArgumentParser()
    argument.add_arguments(parser)
    return build_order(parser.parse_args(words), "http://localhost:1", default)


def read_body(*words):
    return json.loads(build(*words).body)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("plain", None, '"plain"'),
        ("7", None, '"7"'),
        ("", None, '""'),
        ("a b=c", None, '"a b=c"'),
        ("=x=y", None, '"x=y"'),
        (":=null", None, "null"),
        (":=1.10", None, "1.10"),
        ("name=x:=y", "name", '"x:=y"'),
        ("name=", "name", '""'),
        ("name=null", "name", '"null"'),
        ("name=two\nlines", "name", '"two\\nlines"'),
        ('name:={"a": [1]}', "name", '{"a": [1]}'),
        ("größe=1", "größe", '"1"'),
    ],
)
def test_a_parameter_is_a_text_or_json_by_name_or_by_position(text, name, value):
    param = parse_param(text)
    assert (param.name, bytes(param.value).decode()) == (name, value)


@pytest.mark.parametrize("text", ["a:=", "a:=secret", ":=[1", ":=NaN", "a:='x'", "\udcff"])
def test_a_parameter_that_is_no_json_is_refused_without_its_value(text):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse_param(text)
    assert "secret" not in str(caught.value)


def test_parameters_by_position_are_an_array_and_those_by_name_an_object():
    assert read_body("s", "--param", "a", "--param", ":=1")["params"] == ["a", 1]
    assert read_body("s", "--param", "x=a", "--param", "y:=1")["params"] == {"x": "a", "y": 1}
    assert "params" not in read_body("s")


@pytest.mark.parametrize("others", [("a",), ("x=2",), ("=a",)])
def test_names_and_positions_and_the_same_name_twice_are_refused(others):
    words = [word for text in ("x=1", *others) for word in ("--param", text)]
    with pytest.raises(Failure) as caught:
        build("s", *words)
    assert caught.value.code == 2


def test_every_option_has_its_member():
    words = ("--timeout", "2.5", "--tag", "t", "--role", "r", "--read-only")
    assert read_body("select 1", *words) == {
        "sql": "select 1",
        "timeout_ms": 2500,
        "read_only": True,
        "tag": "t",
        "role": "r",
    }


def test_a_table_asks_for_no_more_rows_than_it_shows():
    body = read_body("s", "--format", "table")
    assert body["limits"] == {"rows": 1000, "on_exceed": "truncate"}


def test_a_saved_query_has_its_name_in_the_path():
    order = build("--named", "a b/c", "--param", "x=1", default="csv")
    assert (order.path, order.is_streamed) == ("/v1/named/a%20b%2Fc", False)
    assert json.loads(order.body) == {"params": {"x": "1"}, "rows": "arrays"}


@pytest.mark.parametrize("words", [("--read-only",), ("--param", "7")])
def test_what_a_saved_query_does_not_take_is_refused(words):
    with pytest.raises(Failure) as caught:
        build("--named", "x", *words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "words", [(), ("s", "--named", "x"), ("s", "--file", "x"), ("s", "--format", "xml")]
)
def test_one_source_and_a_known_format_are_needed(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        build(*words)


def test_a_file_is_read_without_its_mark(tmp_path):
    file = tmp_path / "x.sql"
    file.write_bytes("\ufeffselect 'é'".encode())
    assert read_body("--file", str(file))["sql"] == "select 'é'"


def test_a_file_that_is_no_statement_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(argument, "SQL_BYTES", 10)
    binary, long = tmp_path / "binary", tmp_path / "long"
    binary.write_bytes(b"\xff")
    long.write_text("select 12345")
    for file, reason in ((binary, "UTF-8"), (long, "10 bytes"), (tmp_path / "none", "No such")):
        with pytest.raises(Failure, match=reason) as caught:
            build("--file", str(file))
        assert caught.value.code == 2


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1 s"])
def test_a_time_is_a_positive_number_of_seconds(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["http://h:1/", "https://h", "unix:/run/x.sock", "/run/x.sock"])
def test_an_address_is_a_url_or_a_socket(text):
    assert parse_address(text) == text.rstrip("/")


@pytest.mark.parametrize("text", ["", "localhost:7432", "ftp://h", "http:///x", "unix:x"])
def test_another_address_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_address(text)


def test_an_argument_that_is_not_utf8_is_refused():
    with pytest.raises(Failure, match="UTF-8"):
        build("select '\udcff'")
