"""The document of a buffered answer."""

import orjson

from proxy.encoders.json_rows import AnswerEncoder, Outcome
from proxy.encoders.row_encoder import RowShape
from proxy.sql.types import BUILTIN
from proxy.wire.messages import Field, ServerMessage
from tests.fixtures.backend_message import data_row

COLUMN = Field("id", 16400, 1, 20, 8, -1, 0)


def encode(fields, messages, outcome):
    return AnswerEncoder(fields, BUILTIN, RowShape()).encode(messages, outcome)


def test_the_document_has_the_members_of_the_api_in_order():
    answer = encode([COLUMN], data_row(b"1"), Outcome(1, "SELECT", False, [], 3.1))
    assert answer == (
        b'{"columns":[{"name":"id","type":"int8","oid":20,"typmod":-1,"table_oid":16400,'
        b'"column":1}],"rows":[{"id":1}],"row_count":1,"command":"SELECT","truncated":false,'
        b'"notices":[],"elapsed_ms":3.1}'
    )


def test_a_statement_without_rows_has_empty_lists():
    answer = orjson.loads(encode((), b"", Outcome(0, "CREATE TABLE", False, (), 1)))
    assert (answer["columns"], answer["rows"]) == ([], [])


def test_notices_are_told_with_their_fields():
    notice = ServerMessage("NOTICE", "00000", "hello", hint="say it back")
    answer = orjson.loads(encode((), b"", Outcome(0, "DO", False, [notice], 1)))
    assert answer["notices"][0]["message"] == "hello"
    assert answer["notices"][0]["hint"] == "say it back"
