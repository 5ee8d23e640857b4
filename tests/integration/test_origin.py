"""What a page in a browser on the same machine can do: nothing, unless its origin is listed."""

import asyncio

import pytest

from tests.fixtures.service import run_client

PAGE = "https://app.example.com"
OURS = {"allowed_hosts": ["pgsidecar.default.svc"], "cors_origins": [PAGE]}
QUERY = {"sql": "select 1 as x"}


@pytest.fixture(scope="module")
async def client(upstream):
    async with run_client(upstream, http=OURS) as running:
        yield running


def port(client) -> str:
    return client.service.url.rpartition(":")[2]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:{}",
        "localhost:{}",
        "LOCALHOST",
        "[::1]:{}",
        "10.1.2.3",
        "pgsidecar.default.svc:{}",
        "PgSidecar.default.svc.",
    ],
)
@pytest.mark.parametrize("way", [{}, {"X-Unusual": "1"}], ids=["express", "aiohttp"])
async def test_our_names_and_every_address_are_served(client, host, way):
    headers = {"Host": host.format(port(client)), **way}
    assert (await client.post("/v1/query", json=QUERY, headers=headers)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example:80:80",
        "0x7f000001",
        "[::1",
        "localhost:port",
    ],
)
@pytest.mark.parametrize("way", [{}, {"X-Unusual": "1"}], ids=["express", "aiohttp"])
async def test_a_name_that_only_leads_here_is_refused(client, host, way):
    """DNS rebinding: the page's own name resolves to 127.0.0.1."""
    headers = {"Host": host.format(port(client)), **way}
    reply = await client.post("/v1/query", json=QUERY, headers=headers)
    assert (reply.status, reply.json["title"]) == (403, "forbidden")
    assert "http.allowed_hosts" in reply.json["detail"]


@pytest.mark.parametrize("listener", ["url", "operations_url"])
async def test_a_name_in_the_target_is_looked_at_too(client, listener):
    address = getattr(client.service, listener)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(b"GET http://evil.example/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == b"403"
    writer.close()


async def test_every_name_is_served_where_that_is_asked_for(upstream, tmp_path):
    async with run_client(upstream, http={"allowed_hosts": ["*"]}) as client:
        headers = {"Host": "evil.example"}
        assert (await client.post("/v1/query", json=QUERY, headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": f"{PAGE}.evil.example"},
        {"Origin": PAGE.upper()},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/query", "/v1/named", "/v1/queries", "/stats", "/v1/nothing"])
async def test_another_origin_is_refused(client, headers, path):
    base = client.service.operations_url if path == "/stats" else client.service.url
    method = "POST" if path == "/v1/query" else "GET"
    body = QUERY if method == "POST" else None
    async with client.session.request(method, base + path, json=body, headers=headers) as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["title"]) == (403, "forbidden")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_a_page_of_our_own_is_served(client, headers):
    origin = {"Origin": client.service.url}
    for extra in ({}, origin):
        assert (await client.get("/v1/named", headers={**headers, **extra})).status == 200


async def test_a_listed_origin_may_send_and_read(client):
    headers = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    for path in ("/v1/query", "/v1/stream?format=json"):
        reply = await client.post(path, json=QUERY, headers=headers)
        assert reply.status == 200
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE
        assert reply.headers["Vary"] == "Origin"
        assert "X-Request-Id" in reply.headers["Access-Control-Expose-Headers"]
    failed = await client.post("/v1/query", json={"sql": "selec"}, headers=headers)
    assert failed.headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize("origin", [PAGE, "http://evil.example"])
async def test_the_question_before_a_request_is_answered_for_listed_origins(client, origin):
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    url = f"{client.service.url}/v1/query"
    async with client.session.options(url, headers=headers) as response:
        assert response.status == (204 if origin == PAGE else 403)
        assert response.headers.get("Access-Control-Allow-Origin") == (
            PAGE if origin == PAGE else None
        )
        if origin == PAGE:
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


async def test_no_browser_takes_an_answer_for_another_type(client):
    headers = {"Sec-Fetch-Site": "none"}
    reply = await client.post("/v1/query", json=QUERY, headers=headers)
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
