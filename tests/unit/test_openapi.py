"""The document of `/openapi.json`, without a service."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from proxy.api.openapi import OpenApi
from proxy.api.problem import build_problem
from proxy.api.raw_sql import OPEN
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.errors import ProxyError
from proxy.keys import Exchange
from proxy.query.body import Tag
from proxy.query.saved import parse_saved
from proxy.settings import Settings

SAVED = parse_saved(
    "-- description: Orders of a user\n-- param: user int4\n-- param: least numeric = 1.10\n"
    "-- param: ids int8[] = null\n-- param: doc jsonb = {}\n-- read_only: true\n"
    "select :user, :least, :ids, :doc",
    "user-orders",
)
WRITER = parse_saved("update notes set n = 1", "write")


def build(*saved, **sections):
    settings = Settings(upstream={"dsn": "postgresql://localhost/app"}, **sections)
    return json.loads(OpenApi(settings, QUERY_ROUTES, OPERATIONS_ROUTES).write(saved))


@pytest.fixture(scope="module")
def document():
    return build(SAVED, WRITER)


def list_operations(document) -> Iterator[tuple[str, str, dict]]:
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "delete"}:
            yield method.upper(), path, item[method]


def list_responses(document) -> Iterator[tuple[str, str, dict]]:
    """Path, status and answer of every operation."""
    shared = document["components"]["responses"]
    for _, path, operation in list_operations(document):
        for status, reference in operation["responses"].items():
            yield path, status, shared[reference["$ref"].split("/")[-1]]


def list_errors(parent=ProxyError) -> Iterator[type[ProxyError]]:
    for child in parent.__subclasses__():
        yield child
        yield from list_errors(child)


def fits(document, schema, value) -> bool:
    return Draft202012Validator({**schema, "components": document["components"]}).is_valid(value)


def refer(name):
    return {"$ref": f"#/components/schemas/{name}"}


def test_the_document_is_valid_openapi(document):
    assert document["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_route_is_there_once():
    described = {f"{method} {path}" for method, path, _ in list_operations(build())}
    routes = [f"{route.method} {route.path}" for route in (*QUERY_ROUTES, *OPERATIONS_ROUTES)]
    assert sorted(described) == sorted(routes)


def test_every_operation_has_an_id_of_its_own_and_a_summary(document):
    ids = [operation["operationId"] for _, _, operation in list_operations(document)]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"] for _, _, operation in list_operations(document))


def test_every_code_of_ours_stands_with_its_status_at_an_operation(document):
    said = {
        (code, status)
        for _, status, response in list_responses(document)
        for code in {kind.code for kind in list_errors()}
        if f"`{code}`" in response["description"]
    }
    assert said == {(kind.code, str(kind.status)) for kind in list_errors()}


def test_every_failure_is_a_problem_document(document):
    for path, status, response in list_responses(document):
        if status >= "400":
            assert [*response["content"]] == ["application/problem+json"], path
            assert response["content"]["application/problem+json"]["schema"] == refer("Problem")


def test_a_problem_has_the_members_that_are_described(document):
    problem = json.loads(
        build_problem("/v1/query", Exchange("id", 0, 0), ProxyError("why", line=3))
    )
    schema = document["components"]["schemas"]["Problem"]
    assert [*problem] == schema["required"] == [*schema["properties"]]
    assert fits(document, refer("Problem"), problem)


def test_every_example_fits_its_schema(document):
    schemas = document["components"]["schemas"]
    examples = [(name, value) for name, it in schemas.items() for value in it.get("examples", ())]
    assert len(examples) >= 5
    assert [name for name, value in examples if not fits(document, refer(name), value)] == []


@pytest.mark.parametrize("tag", ["a", "a b", "a\n", "é", "", "a" * 64, "a" * 65, "a.b/c:d_e-f"])
def test_a_tag_fits_its_schema_where_it_is_taken(document, tag):
    schema = document["components"]["schemas"]["QueryBody"]["properties"]["tag"]
    try:
        msgspec.convert(tag, Tag)
    except msgspec.ValidationError:
        is_taken = False
    else:
        is_taken = True
    assert fits(document, schema, tag) == is_taken


def test_members_say_what_they_must_be(document):
    properties = document["components"]["schemas"]["BatchBody"]["properties"]
    assert properties["retry"]["description"] == "a whole number from 0 to 3"


def test_a_saved_query_that_reads_has_typed_options(document):
    operation = document["paths"]["/v1/named/user-orders"]["get"]
    options = {option["name"]: option for option in operation["parameters"]}
    assert operation["summary"] == "Orders of a user"
    assert "name" not in options
    assert options["user"]["required"]
    assert options["user"]["schema"] == {"type": ["integer"], "description": "int4"}
    assert options["ids"]["schema"]["items"] == {"type": ["integer"]}
    assert options["doc"]["content"]["application/json"]["schema"]["default"] == {}
    assert options["rows"]["schema"]["enum"] == ["arrays", "objects"]


@pytest.mark.parametrize(
    ("params", "is_right"),
    [
        ({"user": 7}, True),
        ({"user": None, "least": 2.5, "ids": [1, None], "doc": ["any"]}, True),
        ({}, False),
        ({"user": "seven"}, False),
        ({"user": 7, "other": 1}, False),
    ],
)
def test_a_saved_query_has_a_typed_body(document, params, is_right):
    operation = document["paths"]["/v1/named/user-orders"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert fits(document, schema, {"params": params, "rows": "arrays"}) == is_right
    assert not fits(document, schema, {"params": params, "row": "arrays"})


def test_a_default_keeps_its_digits():
    settings = Settings(upstream={"dsn": "postgresql://localhost/app"})
    body = OpenApi(settings, QUERY_ROUTES, OPERATIONS_ROUTES).write([SAVED])
    assert b'"default":1.10' in body


def test_a_saved_query_that_may_write_has_no_get(document):
    assert [*document["paths"]["/v1/named/write"]] == ["post"]


def test_without_raw_sql_only_what_is_open_is_described(tmp_path):
    document = build(sql={"mode": "named", "named_dir": tmp_path})
    operations = {route.path for route in OPERATIONS_ROUTES}
    assert document["paths"].keys() - operations == OPEN


def test_the_other_listener_has_its_own_address():
    document = build(ops={"port": 9999})
    assert document["paths"]["/live"]["servers"][0]["variables"]["port"]["default"] == "9999"


def test_a_begun_transaction_links_to_what_takes_its_id(document):
    answers = {(path, status): it for path, status, it in list_responses(document)}
    links = answers["/v1/transactions", "201"]["links"]
    ids = {
        operation["operationId"]
        for _, path, operation in list_operations(document)
        if path.startswith("/v1/transactions/{id}")
    }
    assert links.keys() == ids
