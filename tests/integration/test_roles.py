"""A role is a boundary for saved queries, and none for raw SQL."""

import pytest

from tests.fixtures.service import assert_nothing_left, observe, run_client

pytestmark = [pytest.mark.matrix, pytest.mark.usefixtures("kept_apart")]
COUNT = "select count(*) from kept_apart"
ESCAPE = """
    select word from (select set_config('role', 'none', true) offset 0) as left_role,
        lateral ts_stat('select to_tsvector(count(*)::text) from kept_apart')
"""


@pytest.fixture(scope="module")
async def kept_apart(upstream, notes):  # it makes the role
    """A table that the login may read, and the role `clerk` may not."""
    async with observe(upstream) as admin:
        await admin.execute("create table kept_apart (); alter table kept_apart owner to app")
        yield
        await admin.execute("drop table kept_apart")


async def test_raw_sql_leaves_its_role(upstream):
    """What SECURITY.md warns of; this is why a start with both is refused."""
    async with run_client(upstream, session={"allowed_roles": ["clerk"]}) as client:
        assert (await client.query(COUNT, role="clerk")).json["sqlstate"] == "42501"
        assert await client.value(ESCAPE, role="clerk") == "0"
        assert await client.value("select current_user", role="clerk") == "clerk"
        assert await client.value("select current_user") == "app"
        await assert_nothing_left(client, upstream)


@pytest.mark.parametrize("text", ["none", "'; reset role; --", ESCAPE])
async def test_a_saved_query_stays_in_its_role(upstream, tmp_path, text):
    (tmp_path / "who.sql").write_text(
        "-- param: text text\nselect current_user::text as who, :text as text"
    )
    (tmp_path / "count.sql").write_text(COUNT)
    sections = {
        "session": {"allowed_roles": ["clerk"], "roles_are_no_boundary": False},
        "sql": {"mode": "named", "named_dir": tmp_path},
    }
    async with run_client(upstream, **sections) as client:
        body = {"params": {"text": text}, "role": "clerk"}
        reply = await client.post("/v1/named/who", json=body)
        assert reply.json["rows"] == [{"who": "clerk", "text": text}]
        reply = await client.post("/v1/named/count", json={"role": "clerk"})
        assert reply.json["sqlstate"] == "42501"
        assert (await client.query(ESCAPE, role="clerk")).status == 403
