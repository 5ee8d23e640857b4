"""The formats that `pgsidecar query` makes itself."""

import orjson
from msgspec import Raw

from proxy.command.printer import CsvPrinter, JsonPrinter, NdjsonPrinter, Outcome
from proxy.command.table import TablePrinter, measure

OUTCOME = Outcome(2, "SELECT", truncated=False, notices=[], elapsed_ms=Raw(b"1.5"))


def print_all(printer, names, *runs, outcome=OUTCOME):
    columns = [{"name": name, "type": kind} for name, kind in names.items()]
    pieces = [
        printer.head(Raw(orjson.dumps(columns))),
        *(printer.rows([orjson.dumps(row) for row in run]) for run in runs),
        printer.end(outcome),
    ]
    return b"".join(pieces).decode()


def test_rows_of_several_runs_are_one_json_document():
    text = print_all(JsonPrinter(), {"a": "int4"}, [{"a": 1}, {"a": 2}], [{"a": 3}])
    assert orjson.loads(text) == {
        "columns": [{"name": "a", "type": "int4"}],
        "rows": [{"a": 1}, {"a": 2}, {"a": 3}],
        "row_count": 2,
        "command": "SELECT",
        "truncated": False,
        "notices": [],
        "elapsed_ms": 1.5,
    }


def test_ndjson_has_a_line_for_each_row():
    assert print_all(NdjsonPrinter(), {"a": "int4"}, [1, 2], [3]) == "1\n2\n3\n"


def test_csv_tells_null_from_empty_and_quotes_what_needs_it():
    cells = [None, "", "plain", 'a"b', "a,b", "a\r\nb", 1.5, True, [1, None], {"k": "v"}]
    names = {f"c{number}": "text" for number in range(len(cells))}
    text = print_all(CsvPrinter(), names, [cells])
    header, row = text.removesuffix("\r\n").split("\r\n", 1)
    assert header == ",".join(names)
    assert row == ',"",plain,"a""b","a,b","a\r\nb",1.5,true,"[1,null]","{""k"":""v""}"'


def test_a_table_aligns_numbers_to_the_right_and_marks_null():
    names = {"n": "int4", "name": "text"}
    assert print_all(TablePrinter(), names, [[1, "a"], [100, None]]) == (
        "n   | name\n----+-----\n  1 | a\n100 | NULL\n(2 rows)\n"
    )


def test_a_table_lets_no_control_sequence_through():
    text = print_all(TablePrinter(), {"\x1b[2J": "text"}, [["a\nb\x1b[31m\u202e"]])
    assert "\\x1b[2J" in text
    assert "a\\nb\\x1b[31m\\u202e" in text
    assert "\x1b" not in text


def test_a_table_says_what_it_leaves_out():
    outcome = Outcome(1, None, truncated=True, notices=[], elapsed_ms=Raw(b"1"))
    text = print_all(TablePrinter(), {"a": "text"}, [["x" * 100]], outcome=outcome)
    assert f"{'x' * 79}…\n" in text
    assert text.endswith(
        "(1 row; there are more; long values are cut: …; --format ndjson has everything)\n"
    )


def test_wide_characters_take_two_cells():
    assert [measure(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]


def test_a_statement_without_rows_has_its_command():
    def show(command, count):
        outcome = Outcome(count, command, truncated=False, notices=[], elapsed_ms=Raw(b"1"))
        return print_all(TablePrinter(), {}, outcome=outcome)

    assert (show("UPDATE", 0), show("CREATE TABLE", 0)) == ("UPDATE 0\n", "CREATE TABLE\n")
