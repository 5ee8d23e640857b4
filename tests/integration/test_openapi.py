"""GET /openapi.json, and whether its examples and its answers are true."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.fixtures.logins import run_known, sign
from tests.fixtures.service import assert_nothing_left, observe, poll, run_client

ROOT = Path(__file__).parents[2]
SAVED = {
    "sum.sql": "-- param: a int4\n-- param: more int8[] = []\n-- read_only: true\n"
    "select :a + coalesce(sum(n), 0) as sum from unnest(:more) as n\n",
    "typed.sql": "-- param: flag bool\n-- param: rate float8\n-- param: price numeric = 1.10\n"
    '-- param: doc jsonb = {"a": 1}\n-- param: day date = null\n-- param: id uuid = null\n'
    "select :flag, :rate, :price, :doc, :day, :id\n",
}

ANSWERS = {
    "QueryAnswer": ("post", "/v1/query", {"sql": "select 1"}),
    "BatchAnswer": ("post", "/v1/batch", {"statements": [{"sql": "select 1"}]}),
    "DescribeAnswer": ("post", "/v1/describe", {"sql": "select 1"}),
    "QueriesAnswer": ("get", "/v1/queries", None),
    "SchemaAnswer": ("get", "/v1/schema", None),
}


@pytest.fixture
async def document(client):
    return (await client.get("/openapi.json")).json


@pytest.fixture
async def people(upstream):
    """The table that the example of a bulk load fills."""
    async with observe(upstream) as observer:
        await observer.execute("create table people (id int, name text)")
        await observer.execute("grant all on people to public")
        try:
            yield
        finally:
            await observer.execute("drop table people")


def list_examples(document):
    """Path, content type and example of every body but those of transactions."""
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        if "/transactions" in path:
            continue
        contents = item.get("post", {}).get("requestBody", {}).get("content", {})
        for kind, media in contents.items():
            name = media["schema"].get("$ref", "").split("/")[-1]
            examples = schemas[name].get("examples", []) if name else [media["example"]]
            for example in examples:
                yield path.replace("{table}", "public.people"), kind, example


def list_members(document, schema, value, place=""):
    """What a value has that its schema hasn't, and what it lacks."""
    schema = document["components"]["schemas"].get(schema.get("$ref", "").split("/")[-1], schema)
    if isinstance(value, list):
        return [
            other
            for each in value
            for other in list_members(document, schema.get("items", {}), each, f"{place}[]")
        ]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    properties = schema["properties"]
    differing = value.keys() - properties.keys() | (set(schema["required"]) - value.keys())
    inner = [
        other
        for name in value.keys() & properties.keys()
        for other in list_members(document, properties[name], value[name], f"{place}.{name}")
    ]
    return [f"{place}.{name}" for name in differing] + inner


async def test_a_client_that_has_the_document_gets_304(client):
    first = await client.get("/openapi.json")
    again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status, again.status, again.body) == (200, 304, b"")


async def test_a_saved_query_is_there_as_soon_as_its_file_is(upstream, tmp_path):
    sql = {"named_dir": tmp_path, "reload_s": 0.05}
    async with run_client(upstream, sql=sql) as client:
        assert "/v1/named/one" not in (await client.get("/openapi.json")).json["paths"]
        (tmp_path / "one.sql").write_text("-- read_only: true\nselect 1 as one\n")

        async def is_there():
            return "/v1/named/one" in (await client.get("/openapi.json")).json["paths"]

        await poll(is_there, "the saved query isn't described")


async def test_where_raw_sql_is_refused_the_document_is_served(upstream, tmp_path):
    async with run_client(upstream, sql={"mode": "named", "named_dir": tmp_path}) as client:
        assert (await client.get("/openapi.json")).status == 200


async def test_every_example_of_a_body_is_answered_well(client, document, people):
    answered = []
    for path, kind, example in list_examples(document):
        data = example if isinstance(example, str) else json.dumps(example)
        url, headers = client.service.url + path, {"Content-Type": kind}
        async with client.session.post(url, data=data, headers=headers) as response:
            answered.append((path, kind, response.status))
    assert len(answered) == 8
    assert [each for each in answered if each[-1] != 200] == []


@pytest.mark.blocks
async def test_the_examples_of_a_transaction_begin_and_end_one(client, document):
    schemas = document["components"]["schemas"]
    (begin,), (end,) = schemas["TransactionBody"]["examples"], schemas["EndBody"]["examples"]
    begun = await client.post("/v1/transactions", json=begin)
    ended = await client.post(f"{begun.headers['Location']}/commit", json=end)
    assert (begun.status, ended.status) == (201, 200)
    assert list_members(document, schemas["TransactionAnswer"], begun.json) == []
    assert list_members(document, schemas["EndAnswer"], ended.json) == []


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_has_the_members_that_are_described(client, document, name):
    method, path, body = ANSWERS[name]
    reply = await (client.get(path) if method == "get" else client.post(path, json=body))
    assert reply.status == 200
    assert list_members(document, document["components"]["schemas"][name], reply.json) == []


async def test_schemathesis_finds_no_answer_that_is_not_described(
    upstream, people, tmp_path, tmp_path_factory
):
    for name, text in SAVED.items():
        (tmp_path / name).write_text(text)
    sections = {
        "pool": {"size": 4, "overflow": 0},
        "limits": {"listeners": 0},  # else one that listens is never answered to its end
        "transactions": {"idle_s": 0.5},
        "sql": {"named_dir": tmp_path},
    }
    async with run_known(upstream, tmp_path_factory.mktemp("tokens"), **sections) as client:
        code, report = await run_schemathesis(client.service.url, tmp_path)
        assert code == 0, report
        await assert_nothing_left(client, upstream)


async def run_schemathesis(url, folder):
    options = ("--config-file", ROOT / "tests/fixtures/schemathesis.toml", "run")
    paths = ("--exclude-path-regex", "^/(startup|ready|live|stats)$")  # on the other listener
    token = ("-H", f"Authorization: {sign('guest')['Authorization']}")
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "schemathesis.cli",
            *options,
            f"{url}/openapi.json",
            *paths,
            *token,
        ),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(90):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()
