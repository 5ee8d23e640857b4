"""Settings travel with their statement and leave nothing behind."""

import asyncio

import pytest

from proxy.errors import ProxyError
from tests.fixtures.servers import describe_postgres
from tests.fixtures.service import Client, run_client

pytestmark = pytest.mark.matrix

READ = """
select current_setting('TimeZone'), current_setting('search_path'),
       coalesce(current_setting('app.tenant', true), ''), current_setting('work_mem')
"""
OWN = {"TimeZone": "Asia/Tokyo", "search_path": "pg_temp", "app.tenant": "7", "work_mem": "1234kB"}
DEFAULTS = ["UTC", '"$user", public', "", "4MB"]


async def read(client: Client, settings: dict[str, str]):
    (row,) = await client.rows(READ, rows="arrays", settings=settings)
    return row


async def test_settings_hold_for_their_statement(client: Client):
    assert await read(client, OWN) == list(OWN.values())


async def test_settings_never_reach_another_statement(client: Client):
    wanted = [OWN, {}] * 40
    answers = await asyncio.gather(*(read(client, settings) for settings in wanted))
    assert answers == [list(OWN.values()), DEFAULTS] * 40


async def test_settings_of_a_failed_statement_are_gone(client: Client):
    for _ in range(8):
        reply = await client.query("select 1/0", settings=OWN)
        assert reply.json["sqlstate"] == "22012"
        assert await read(client, {}) == DEFAULTS


async def test_a_set_in_the_sql_itself_is_seen_by_its_own_statement_alone(client: Client):
    sql = "select set_config('app.tenant', 'left behind', true)"
    assert await client.value(sql) == "left behind"
    answers = await asyncio.gather(*(read(client, {}) for _ in range(8)))
    assert answers == [DEFAULTS] * 8


async def test_search_path_decides_which_table_is_read(client: Client):
    sql = "select 'sql_features'::regclass::oid"
    assert (await client.query(sql)).json["sqlstate"] == "42P01"
    reply = await client.query(sql, settings={"search_path": "information_schema"})
    assert reply.status == 200


async def test_names_of_settings_have_no_case(client: Client):
    settings = {"TIMEZONE": "Asia/Tokyo", "App.Tenant": "7"}
    assert await read(client, settings) == ["Asia/Tokyo", DEFAULTS[1], "7", DEFAULTS[3]]


async def test_values_of_settings_need_no_quoting(client: Client):
    value = 'it\'s "x" \\ café 🐘; drop table users --'
    assert (await read(client, {"app.tenant": value}))[2] == value


@pytest.mark.parametrize("name", ["statement_timeout", "Statement_Timeout"])
async def test_a_statement_timeout_of_the_request_holds(client: Client, name):
    reply = await client.query("select pg_sleep(30)", settings={name: "50"}, timeout_ms=5000)
    assert reply.status == 504
    assert reply.json["title"] == "statement_timeout"
    assert reply.json["executed"] == "no"


@pytest.mark.parametrize(
    "name",
    [
        *("role", "ROLE", "session_authorization", "transaction_read_only", "log_statement"),
        *("client_encoding", "DateStyle", "intervalstyle", "bytea_output", "extra_float_digits"),
        *("standard_conforming_strings", "app", "app.", "app.x'y", "app.x y", "", "other.tenant"),
    ],
)
async def test_a_setting_that_is_not_open_is_refused(client: Client, name):
    reply = await client.query("select 1", settings={name: "x"})
    assert reply.status == 403
    assert reply.json["title"] == "forbidden"
    assert "session.allowed_settings" in reply.json["detail"]


async def test_a_bad_value_is_the_error_of_the_settings(client: Client):
    reply = await client.query("select 1", settings={"TimeZone": "Mars/Phobos"})
    assert reply.status == 400
    assert reply.json["sqlstate"] == "22023"
    assert reply.json["detail"].startswith("settings:")
    assert reply.json["position"] is None
    assert reply.json["executed"] == "no"


async def test_a_name_that_the_server_does_not_know_is_the_error_of_the_settings(client: Client):
    reply = await client.query("select 1", settings={"enable_wings": "on"})
    assert reply.status == 400
    assert reply.json["sqlstate"] == "42704"
    assert reply.json["detail"].startswith("settings:")


async def test_an_error_of_the_statement_keeps_its_position_after_settings(client: Client):
    reply = await client.query("select nope", settings=OWN)
    assert reply.json["position"] == 8


@pytest.mark.parametrize(
    "settings", [{"work_mem": 5}, {"work_mem": None}, ["work_mem"], "work_mem"]
)
async def test_settings_of_another_type_are_refused(client: Client, settings):
    reply = await client.query("select 1", settings=settings)
    assert reply.status == 400
    assert "settings must be an object of setting names with strings" in reply.json["detail"]


async def test_nul_in_a_value_is_refused(client: Client):
    reply = await client.query("select 1", settings={"app.tenant": "a\0b"})
    assert reply.status == 400
    assert "settings.app.tenant contains a NUL" in reply.json["detail"]


async def test_settings_of_the_configuration_hold_for_every_statement(upstream):
    session = {"time_zone": "Asia/Tokyo", "settings": {"app.tenant": "9", "search_path": "public"}}
    async with run_client(upstream, session=session, pool={"size": 4}) as client:
        answers = await asyncio.gather(*(read(client, {}) for _ in range(40)))
        assert answers == [["Asia/Tokyo", "public", "9", "4MB"]] * 40


async def test_settings_of_a_request_win_over_those_of_the_configuration(upstream):
    session = {"time_zone": "Europe/Rome", "settings": {"app.tenant": "9"}}
    async with run_client(upstream, session=session) as client:
        assert await read(client, OWN) == list(OWN.values())
        assert await read(client, {}) == ["Europe/Rome", DEFAULTS[1], "9", "4MB"]


async def test_the_time_zone_of_the_configuration_needs_no_prefix(upstream):
    async with run_client(upstream, session={"time_zone": "Asia/Tokyo"}) as client:
        assert await client.value("select current_setting('statement_timeout')") == "0"
        assert await client.value("select current_setting('TimeZone')") == "Asia/Tokyo"


async def test_hooks_run_on_every_new_connection_to_postgres(postgres):
    hooks = ["set work_mem = '1234kB'", "select set_config('app.tenant', 'hook', false)"]
    session = {"hooks": hooks}
    pool = {"size": 3, "overflow": 0, "idle_s": 0}
    async with run_client(describe_postgres(postgres), session=session, pool=pool) as client:
        for _ in range(3):
            answers = await asyncio.gather(*(read(client, {}) for _ in range(12)))
            assert answers == [[*DEFAULTS[:2], "hook", "1234kB"]] * 12


async def test_a_hook_that_sets_something_holds_for_every_statement(upstream):
    session = {"hooks": ["set work_mem = '1234kB'", "SET app.tenant TO 'hook'"]}
    async with run_client(upstream, session=session, pool={"size": 4}) as client:
        answers = await asyncio.gather(*(read(client, {}) for _ in range(40)))
        assert answers == [[*DEFAULTS[:2], "hook", "1234kB"]] * 40


async def test_another_hook_is_refused_behind_a_shared_pool(pgbouncer_transaction):
    with pytest.raises(ProxyError, match="can't hold behind PgBouncer"):
        async with run_client(
            pgbouncer_transaction.dsn, session={"hooks": ["load 'auto_explain'"]}
        ):
            pass


async def test_a_hook_that_fails_stops_the_start(postgres):
    with pytest.raises(ProxyError, match="the connect hooks failed: syntax error"):
        async with run_client(describe_postgres(postgres), session={"hooks": ["selekt 1"]}):
            pass
