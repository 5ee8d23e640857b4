"""The directory of saved queries: what is read, and what goes on serving."""

import os

import pytest

from proxy.query import saved_folder
from proxy.query.saved_folder import Shelf, read_shelf

LIMIT = 200


def read(path, before=None):
    return read_shelf(path, before or Shelf(), LIMIT)


def names(shelf):
    return {file: saved.name for file, saved in shelf.queries.items()}


def test_files_that_end_in_sql_are_read(tmp_path):
    for name in ("a.sql", "b.txt", ".c.sql", "d.SQL"):
        (tmp_path / name).write_text("select 1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "e.sql").write_text("select 1")
    shelf = read(tmp_path)
    assert (names(shelf), shelf.problems) == ({"a.sql": "a"}, {})


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "a.sql").write_bytes(b"\xef\xbb\xbf-- name: b\nselect 1")
    assert names(read(tmp_path)) == {"a.sql": "b"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"select '\xff'", "it is not UTF-8 (byte 8)"),
        (b"select " + b"1" * LIMIT, f"it has more than the {LIMIT} bytes"),
        (b"", "it holds no statement"),
    ],
)
def test_a_file_that_can_not_be_used_is_a_problem(tmp_path, content, sentence):
    (tmp_path / "a.sql").write_bytes(content)
    assert sentence in read(tmp_path).problems["a.sql"]


def test_what_is_no_file_is_a_problem_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.sql")
    (tmp_path / "b.sql").symlink_to(tmp_path / "nowhere")
    assert read(tmp_path).problems == {"a.sql": "it is no file", "b.sql": "it is no file"}


def test_a_name_belongs_to_one_file(tmp_path):
    (tmp_path / "a.sql").write_text("select 1")
    (tmp_path / "b.sql").write_text("-- name: a\nselect 2")
    assert read(tmp_path).problems == {"b.sql": "its name a is that of a.sql; give it another"}


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_folder, "MAX_FILES", 1)
    for name in ("a.sql", "b.sql"):
        (tmp_path / name).write_text("select 1")
    with pytest.raises(OSError, match=r"more than 1 \.sql files"):
        read(tmp_path)


def test_nothing_is_read_again_while_nothing_changes(tmp_path):
    (tmp_path / "a.sql").write_text("select 1")
    before = read(tmp_path)
    assert read(tmp_path, before) is before


def test_a_file_with_a_mistake_keeps_the_query_that_it_had(tmp_path):
    (tmp_path / "a.sql").write_text("select 1")
    before = read(tmp_path)
    (tmp_path / "a.sql").write_text("select 1; select 2")
    shelf = read(tmp_path, before)
    assert shelf.queries["a.sql"].rewritten.sql == "select 1"
    assert "more than one statement" in shelf.problems["a.sql"]


def test_a_problem_ends_with_its_cause_in_another_file(tmp_path):
    (tmp_path / "a.sql").write_text("select 1")
    (tmp_path / "b.sql").write_text("-- name: a\nselect 2")
    before = read(tmp_path)
    (tmp_path / "a.sql").unlink()
    shelf = read(tmp_path, before)
    assert (names(shelf), shelf.problems) == ({"b.sql": "a"}, {})


def test_a_removed_file_takes_its_query_with_it(tmp_path):
    (tmp_path / "a.sql").write_text("select 1")
    before = read(tmp_path)
    (tmp_path / "a.sql").unlink()
    assert read(tmp_path, before).queries == {}


def test_the_swap_of_a_link_to_a_directory_shows(tmp_path):
    """As Kubernetes does it with a ConfigMap: file -> ..data/file, ..data -> ..2025_01."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.sql").write_text(f"select {version[-1]}")
        os.utime(tmp_path / version / "a.sql", (1, 1))  # same time, same size
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.sql").symlink_to("..data/a.sql")
    before = read(tmp_path)
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert read(tmp_path, before).queries["a.sql"].rewritten.sql == "select 2"
