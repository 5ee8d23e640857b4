"""What the schema shows, on every upstream."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from proxy.engine import inspection
from tests.fixtures.service import DEADLINE_S, find_backend, observe, poll, run_client

pytestmark = pytest.mark.matrix

_MAKE = """
create schema shop;
create type shop.size as (width int, height int);
create domain shop.sku as text not null;
create table shop.items (
    id int generated always as identity,
    code shop.sku,
    title varchar(20) not null default 'new' unique,
    box shop.size,
    spare shop.sku,
    tags text[],
    mood public.mood,
    total numeric(8, 2) generated always as (1.5) stored,
    constraint items_key primary key (code, id)
);
create table shop.sales (
    item_code text, item_id int, user_id int references public.users on delete cascade,
    constraint sales_item foreign key (item_code, item_id) references shop.items
);
create index sales_users on shop.sales using hash (user_id) where user_id > 0;
create unique index items_lower on shop.items (lower(title)) include (id);
create view shop.cheap as select id, title from shop.items where total < 2;
create materialized view shop.counted as select count(*) from shop.items;
comment on table shop.items is 'What we sell';
comment on column shop.items.title is 'As on the label';
create schema "Odd ""x""y";
create table "Odd ""x""y"."A.b" ("C d" int);
"""
_DROP = 'drop schema shop, "Odd ""x""y" cascade'


@pytest.fixture(scope="module")
async def shop(upstream):
    async with observe(upstream) as admin:
        await admin.execute(f"{_DROP.replace('schema', 'schema if exists')}; {_MAKE}")
        yield
        await admin.execute(_DROP)


@pytest.fixture
async def tables(client, shop):
    reply = await client.get("/v1/schema?schema=shop")
    assert reply.status == 200, reply.json
    (schema,) = reply.json["schemas"]
    assert schema["name"] == "shop"
    return {table["name"]: table for table in schema["tables"]}


def column(table, name):
    (found,) = (column for column in table["columns"] if column["name"] == name)
    return found


async def test_everything_with_columns_has_its_kind(tables):
    assert {name: table["kind"] for name, table in tables.items()} == {
        "cheap": "view",
        "counted": "materialized_view",
        "items": "table",
        "sales": "table",
    }


async def test_a_column_is_described(tables):
    assert column(tables["items"], "title") == {
        "name": "title",
        "type": "varchar",
        "declared": "character varying(20)",
        "nullable": False,
        "default": "'new'::character varying",
        "identity": None,
        "generated": None,
        "comment": "As on the label",
    }


async def test_identity_and_generated_columns_say_so(tables):
    assert column(tables["items"], "id")["identity"] == "always"
    total = column(tables["items"], "total")
    assert (total["generated"], total["default"]) == (
        {"expression": "1.5", "storage": "stored"},
        None,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("code", "sku"), ("box", "size"), ("tags", "text[]"), ("mood", "mood"), ("total", "numeric")],
)
async def test_types_have_their_names(tables, name, kind):
    assert column(tables["items"], name)["type"] == kind


async def test_a_domain_that_takes_no_null_makes_no_nullable_column(tables):
    assert not column(tables["items"], "spare")["nullable"]
    assert column(tables["items"], "box")["nullable"]


async def test_columns_come_in_their_order_also_of_views(tables):
    assert [column["name"] for column in tables["cheap"]["columns"]] == ["id", "title"]
    assert [column["type"] for column in tables["counted"]["columns"]] == ["int8"]


async def test_keys_are_shown(tables):
    items, sales = tables["items"], tables["sales"]
    assert items["primary_key"] == {"name": "items_key", "columns": ["code", "id"]}
    assert sales["primary_key"] is None
    assert items["unique"] == [{"name": "items_title_key", "columns": ["title"]}]
    assert [key["references"] for key in sales["foreign_keys"]] == [
        {"schema": "shop", "table": "items", "columns": ["code", "id"]},
        {"schema": "public", "table": "users", "columns": ["id"]},
    ]
    assert [key["on_delete"] for key in sales["foreign_keys"]] == ["NO ACTION", "CASCADE"]
    assert sales["foreign_keys"][0]["columns"] == ["item_code", "item_id"]


async def test_indexes_are_shown(tables):
    assert tables["sales"]["indexes"] == [
        {
            "name": "sales_users",
            "columns": ["user_id"],
            "include": [],
            "unique": False,
            "method": "hash",
            "where": "(user_id > 0)",
        }
    ]
    lower, title = tables["items"]["indexes"]
    assert (lower["columns"], lower["include"], lower["unique"]) == (
        ["lower(title::text)"],
        ["id"],
        True,
    )
    assert title["name"] == "items_title_key"


async def test_a_table_has_its_comment(tables):
    assert tables["items"]["comment"] == "What we sell"
    assert tables["sales"]["comment"] is None


async def test_without_a_schema_all_but_the_systems_are_shown(client, shop):
    schemas = (await client.get("/v1/schema")).json["schemas"]
    assert [schema["name"] for schema in schemas] == ['Odd "x"y', "public", "shop"]


async def test_odd_names_mean_themselves(client, shop):
    reply = await client.get("/v1/schema", params={"schema": 'Odd "x"y'})
    ((table,),) = [schema["tables"] for schema in reply.json["schemas"]]
    assert (table["name"], table["columns"][0]["name"]) == ("A.b", "C d")


async def test_a_system_schema_is_shown_when_asked_for(client):
    (schema,) = (await client.get("/v1/schema?schema=information_schema")).json["schemas"]
    assert "tables" in {table["name"] for table in schema["tables"]}


async def test_an_answer_that_the_client_has_is_not_sent_again(client, shop):
    tag = (await client.get("/v1/schema?schema=shop")).headers["ETag"]
    known = {"If-None-Match": tag}
    reply = await client.get("/v1/schema?schema=shop", headers=known)
    assert (reply.status, reply.body) == (304, b"")


async def test_a_changed_table_is_sent_again(client, upstream, shop):
    tag = (await client.get("/v1/schema?schema=shop")).headers["ETag"]
    async with observe(upstream) as admin:
        await admin.execute("alter table shop.sales add column more int")
        reply = await client.get("/v1/schema?schema=shop", headers={"If-None-Match": tag})
        await admin.execute("alter table shop.sales drop column more")
    assert (reply.status, reply.headers["ETag"] != tag) == (200, True)


async def test_an_unknown_schema_is_404(client):
    reply = await client.get("/v1/schema?schema=nope")
    assert (reply.status, reply.json["title"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("schma=public", "unknown query parameter 'schma'; did you mean 'schema'?"),
        ("schema=a&schema=b", "schema is given more than once"),
        ("schema=", "schema must be a schema's name"),
        ("schema=%00", "schema must be a schema's name"),
    ],
)
async def test_a_wrong_request_is_named(client, query, sentence):
    reply = await client.get(f"/v1/schema?{query}")
    assert (reply.status, sentence in reply.json["detail"]) == (400, True)


async def test_an_answer_over_the_limit_is_refused(upstream):
    async with run_client(upstream, limits={"bytes": 1024}) as client:
        reply = await client.get("/v1/schema?schema=public")
        assert (reply.status, reply.json["title"]) == (413, "result_too_large")
        assert "ask for one schema" in reply.json["detail"]


async def test_statements_go_on_after_it_on_the_only_connection(upstream):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        for _ in range(2):
            assert await client.value("select 1") == 1
            assert (await client.get("/v1/schema?schema=public")).status == 200


async def test_requests_at_the_same_time_are_all_answered(client):
    replies = await asyncio.gather(*(client.get("/v1/schema?schema=public") for _ in range(10)))
    assert {reply.status for reply in replies} == {200}


async def test_more_requests_than_may_wait_are_refused(client):
    replies = await asyncio.gather(*(client.get("/v1/schema?schema=public") for _ in range(40)))
    assert {reply.json.get("title") for reply in replies} == {None, "queue_full"}


@asynccontextmanager
async def lock_comments(upstream):
    async with observe(upstream) as admin, admin.transaction():
        await admin.execute("lock table pg_catalog.pg_description in access exclusive mode")
        yield


@pytest.fixture
async def blocked(upstream):
    """Comments, which the schema shows, can't be read."""
    async with lock_comments(upstream):
        yield


async def test_it_ends_at_its_deadline(upstream, blocked):
    async with run_client(upstream, limits={"timeout_s": 0.5}) as client:
        async with asyncio.timeout(DEADLINE_S):
            reply = await client.get("/v1/schema?schema=public")
        assert (reply.status, reply.json["title"]) == (504, "deadline_exceeded")
        assert reply.json["executed"] == "no"
        assert await client.value("select 1") == 1


async def test_a_client_that_goes_away_interrupts_nothing(client, upstream):
    """The driver's cancel could hit a stranger's statement behind PgBouncer."""
    async with observe(upstream) as observer:
        async with lock_comments(upstream):
            request = asyncio.create_task(client.get("/v1/schema?schema=public"))
            backend = await find_backend(observer, "pg_catalog.col_description")
            before = await count_gone(client)
            request.cancel()

            async def is_noticed():
                return await count_gone(client) > before

            await poll(is_noticed, "the client's going isn't seen")
            state = "select state from pg_stat_activity where pid = $1"
            assert await observer.fetchval(state, backend) == "active"
        assert (await client.get("/v1/schema?schema=public")).status == 200


async def count_gone(client):
    events = (await client.operations("/stats")).json["events"]
    return events["client_disconnected"]["count"]


async def test_tables_are_read_in_batches(client, shop, monkeypatch):
    whole = await client.get("/v1/schema?schema=shop")
    monkeypatch.setattr(inspection, "BATCH", 1)
    assert (await client.get("/v1/schema?schema=shop")).body == whole.body


async def test_more_tables_than_can_be_shown_are_refused(client, shop, monkeypatch):
    monkeypatch.setattr(inspection, "MAX_TABLES", 3)
    reply = await client.get("/v1/schema?schema=shop")
    assert (reply.status, "more than 3 tables" in reply.json["detail"]) == (413, True)
