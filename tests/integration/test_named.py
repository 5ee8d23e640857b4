"""Saved queries over HTTP, on every upstream."""

import pytest

from proxy.errors import ProxyError
from tests.fixtures.service import poll, run_client

pytestmark = pytest.mark.matrix

FILES = {
    "user.sql": "-- param: id int4\n-- read_only: true\n"
    "select id, name from users where id = :id\n",
    "note.sql": "-- name: add-note\n-- description: Adds a note\n-- param: id int4\n"
    "-- param: n int4 = 5\n-- roles: clerk\n"
    "insert into notes (id, n) values (:id, :n) returning n\n",
    "sneaky.sql": "-- read_only: true\nupdate notes set n = n + 1 returning n\n",
    "who.sql": "-- read_only: true\nselect current_user::text, (select count(*) from notes)::int4",
    "typed.sql": '-- param: ids int8[]\n-- param: doc jsonb = null\n-- param: mood text = "ok"\n'
    "-- read_only: true\nselect :ids::text, :doc::text, :mood::mood::text\n",
}
NOTES_DENIED = "permission denied for table notes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("queries")
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


@pytest.fixture(scope="module")
async def shared_client(upstream, notes, folder):
    settings = {"named_dir": folder, "reload_s": 0.05}
    session = {"allowed_roles": ["clerk", "nobody"]}
    async with run_client(upstream, sql=settings, session=session) as client:
        yield client


async def run(client, name, /, **body):
    return await client.post(f"/v1/named/{name}", json=body)


async def test_the_list_says_what_each_takes(client):
    queries = (await client.get("/v1/named")).json["queries"]
    assert [query["name"] for query in queries] == ["add-note", "sneaky", "typed", "user", "who"]
    assert queries[0] == {
        "name": "add-note",
        "description": "Adds a note",
        "params": [
            {"name": "id", "type": "int4", "required": True},
            {"name": "n", "type": "int4", "required": False, "default": 5},
        ],
        "read_only": False,
        "roles": ["clerk"],
    }


async def test_get_answers_as_a_query_does(client):
    reply = await client.get("/v1/named/user?id=7")
    sql = "select id, name from users where id = 7"
    raw = (await client.query(sql)).json
    assert reply.status == 200
    assert {**reply.json, "elapsed_ms": 0} == {**raw, "elapsed_ms": 0}


async def test_values_of_a_query_string_have_their_types(client):
    reply = await client.get('/v1/named/typed?ids=1&ids=2&doc={"a":[1.10]}&mood=sad&rows=arrays')
    assert reply.json["rows"] == [["{1,2}", '{"a": [1.10]}', "sad"]]


async def test_post_takes_values_as_json(client):
    params = {"ids": [1, None], "doc": ["x"]}
    reply = await run(client, "typed", params=params, rows="arrays")
    assert reply.json["rows"] == [["{1,NULL}", '["x"]', "ok"]]


async def test_the_tag_is_that_of_the_rows_alone(client):
    first, second = [await client.get("/v1/named/user?id=7") for _ in range(2)]
    other = await client.get("/v1/named/user?id=8")
    assert first.headers["ETag"] == second.headers["ETag"] != other.headers["ETag"]
    assert first.headers["ETag"].startswith('"')


@pytest.mark.parametrize("known", ["{}", '"other", {}', "W/{}", "*"])
async def test_an_answer_that_the_client_has_is_not_sent_again(client, known):
    tag = (await client.get("/v1/named/user?id=7")).headers["ETag"]
    headers = {"If-None-Match": known.format(tag)}
    reply = await client.get("/v1/named/user?id=7", headers=headers)
    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", tag)


async def test_a_changed_row_is_sent_again(client):
    tag = (await client.get("/v1/named/who")).headers["ETag"]
    await client.query("insert into notes (id) values (50)")
    reply = await client.get("/v1/named/who", headers={"If-None-Match": tag})
    await client.query("delete from notes where id = 50")
    assert (reply.status, reply.json["row_count"]) == (200, 1)
    assert reply.headers["ETag"] != tag


async def test_get_of_a_query_that_may_write_is_405_and_names_post(client):
    reply = await client.get("/v1/named/add-note?id=60")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert "read_only: true" in reply.json["detail"]
    assert await client.value("select count(*) from notes where id = 60") == 0


async def test_post_runs_a_query_that_writes(client):
    reply = await run(client, "add-note", params={"id": 61})
    count = await client.query("delete from notes where id = 61 and n = 5")
    assert (reply.status, reply.json["rows"], count.json["row_count"]) == (200, [{"n": 5}], 1)


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_query_that_only_reads_can_not_write(client, method):
    body = {"json": {}} if method == "post" else {}
    reply = await getattr(client, method)("/v1/named/sneaky", **body)
    assert (reply.status, reply.json["sqlstate"], reply.json["executed"]) == (403, "25006", "no")


async def test_a_role_of_the_file_holds(client):
    reply = await run(client, "add-note", params={"id": 62}, role="clerk")
    assert (reply.status, reply.json["detail"]) == (403, NOTES_DENIED)


async def test_a_role_that_the_file_does_not_list_is_forbidden(client):
    reply = await run(client, "add-note", params={"id": 63}, role="nobody")
    assert (reply.status, reply.json["title"]) == (403, "forbidden")
    assert "its file lists the roles" in reply.json["detail"]


async def test_a_role_in_the_query_string_holds(client):
    reply = await client.get("/v1/named/who?role=clerk")
    assert reply.json["rows"][0]["current_user"] == "clerk"
    assert await client.value("select current_user::text") == "app"


async def test_a_value_that_its_type_refuses_is_the_servers_error(client):
    reply = await client.get("/v1/named/user?id=abc")
    assert (reply.status, reply.json["sqlstate"]) == (400, "22P02")


async def test_a_wrong_parameter_is_named(client):
    reply = await run(client, "user", params={"idd": 7})
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert reply.json["detail"] == "user has no parameter 'idd'; did you mean 'id'?"


async def test_an_unknown_query_is_404_with_the_nearest(client):
    reply = await client.get("/v1/named/usr")
    assert reply.status == 404
    assert "there is no saved query 'usr'; did you mean 'user'?" in reply.json["detail"]


@pytest.mark.parametrize("data", [b"{}", None])
async def test_what_a_page_elsewhere_can_send_unasked_is_415(client, data):
    reply = await client.post("/v1/named/who", data=data, headers={"Content-Type": "text/plain"})
    assert reply.status == 415


async def test_a_query_string_beside_a_body_is_refused(client):
    reply = await client.post("/v1/named/user?id=1", json={})
    assert (reply.status, "put it into the body" in reply.json["detail"]) == (400, True)


async def named_stats(client):
    return (await client.operations("/stats")).json["named"]


def replace(folder, name, text):
    """Rename a file into place, as one should."""
    (folder / ".new").write_text(text)
    (folder / ".new").rename(folder / name)


async def test_a_new_file_serves_without_a_restart_and_goes_with_its_file(client, folder):
    async def is_there():
        return (await client.get("/v1/named/fresh")).status == 200

    async def is_gone():
        return (await client.get("/v1/named/fresh")).status == 404

    replace(folder, "fresh.sql", "-- read_only: true\nselect 1")
    await poll(is_there, "the new file doesn't serve")
    (folder / "fresh.sql").unlink()
    await poll(is_gone, "the removed file serves on")


async def test_a_file_that_gets_a_mistake_serves_on_as_it_was(client, folder, caplog):
    async def is_refused():
        return "user.sql" in (await named_stats(client))["problems"]

    async def is_mended():
        return (await named_stats(client))["problems"] == {}

    replace(folder, "user.sql", "select 1; select 2")
    await poll(is_refused, "the mistake isn't seen")
    problem = (await named_stats(client))["problems"]["user.sql"]
    reply = await client.get("/v1/named/user?id=7")
    replace(folder, "user.sql", FILES["user.sql"])
    await poll(is_mended, "the mended file isn't seen")
    assert problem == "it holds more than one statement; write one per file"
    assert (reply.status, reply.json["rows"][0]["id"]) == (200, 7)
    refused = [record for record in caplog.records if record.message == "saved query refused"]
    assert [record.fields["file"] for record in refused] == ["user.sql"]


async def test_a_directory_that_goes_away_changes_nothing(upstream, tmp_path):
    folder = tmp_path / "queries"
    folder.mkdir()
    (folder / "one.sql").write_text("-- read_only: true\nselect 1")
    settings = {"named_dir": folder, "reload_s": 0.05}
    async with run_client(upstream, sql=settings) as client:

        async def is_missed():
            return "." in (await named_stats(client))["problems"]

        folder.rename(tmp_path / "away")
        await poll(is_missed, "nobody noticed")
        assert (await client.get("/v1/named/one")).status == 200


async def test_a_start_with_mistakes_says_one_line_for_each_file(upstream, tmp_path):
    (tmp_path / "a.sql").write_text("-- nmae: b\nselect 1")
    (tmp_path / "b.sql").write_text("select :id")
    (tmp_path / "c.sql").write_text("select 1")
    with pytest.raises(ProxyError) as caught:
        async with run_client(upstream, sql={"named_dir": tmp_path}):
            pass
    first, second = caught.value.detail.splitlines()
    assert f"sql.named_dir: {tmp_path / 'a.sql'}: line 1: unknown key 'nmae'" in first
    assert f"sql.named_dir: {tmp_path / 'b.sql'}: its statement has :id" in second


async def test_a_start_without_the_directory_is_refused(upstream, tmp_path):
    with pytest.raises(ProxyError, match="No such file or directory"):
        async with run_client(upstream, sql={"named_dir": tmp_path / "nowhere"}):
            pass


@pytest.fixture(scope="module")
async def closed(upstream, folder):
    """A service that runs saved queries alone."""
    async with run_client(upstream, sql={"named_dir": folder, "mode": "named"}) as client:
        yield client


RAW = ("query", "stream", "batch", "copy/notes", "describe", "transactions", "transactions/a/query")


@pytest.mark.parametrize("path", RAW)
async def test_raw_sql_is_forbidden_where_only_saved_queries_run(closed, path):
    reply = await closed.post(f"/v1/{path}", json={"sql": "select 1"})
    assert (reply.status, reply.json["title"], reply.json["executed"]) == (403, "forbidden", "no")
    assert "GET /v1/named lists them" in reply.json["detail"]


async def test_saved_queries_and_the_schema_stay_open(closed):
    for path in ("/v1/named", "/v1/named/user?id=1", "/v1/schema?schema=public"):
        assert (await closed.get(path)).status == 200
    assert (await closed.get("/v1/nothing")).status == 404


async def test_without_a_directory_there_are_none(upstream):
    async with run_client(upstream) as client:
        assert (await client.get("/v1/named")).json == {"queries": []}
        assert (await client.get("/v1/named/user")).status == 404
