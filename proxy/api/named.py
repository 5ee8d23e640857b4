"""GET /v1/named, GET and POST /v1/named/{name}"""

from aiohttp import web
from msgspec.json import encode

from proxy.api.body import read_body, read_query_string
from proxy.api.etag import answer_unless_known
from proxy.api.query import run_query
from proxy.api.scopes import SCOPES
from proxy.encoders.json_rows import find_end_of_rows
from proxy.errors import InvalidRequest, MethodNotAllowed, UnsupportedMediaType
from proxy.keys import EXCHANGE, POLICY, SAVED
from proxy.query.params import SHOWN_NAME
from proxy.query.saved_request import parse_saved_body, parse_saved_string, to_saved_query


async def get_named(request: web.Request) -> web.Response:
    """List the saved queries that the client may run."""
    allows = request[POLICY].allows
    queries = [
        saved.describe()
        for saved in request.app[SAVED].queries
        if allows(SCOPES["/v1/named/{name}"].format(name=saved.name))
    ]
    return web.Response(body=encode({"queries": queries}), content_type="application/json")


async def get_named_query(request: web.Request) -> web.Response:
    """Run a saved query that only reads; 304 if the client has its rows."""
    saved = request.app[SAVED].find(request.match_info["name"])
    if not saved.front.read_only:
        raise MethodNotAllowed(
            f"{saved.name} may write, so it takes POST; GET is for a file with `read_only: true`",
            allow="POST",
        )
    body = parse_saved_string(saved, read_query_string(request))
    answer = await run_query(request, to_saved_query(saved, body, request[POLICY].limits))
    rows = memoryview(answer.body)[: find_end_of_rows(answer.body)]
    response = answer_unless_known(request, answer.body, rows)
    if response.body is None:
        request[EXCHANGE].row_count = None  # none is sent
    return response


async def post_named_query(request: web.Request) -> web.Response:
    """Run a saved query."""
    saved = request.app[SAVED].find(request.match_info["name"])
    for name, _ in read_query_string(request):
        shown = name[:SHOWN_NAME]
        raise InvalidRequest(f"'{shown}' can't stand in the query string; put it into the body")
    if request.content_type != "application/json":  # that a page elsewhere can't send unasked
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    body = parse_saved_body(await read_body(request))
    query = to_saved_query(saved, body, request[POLICY].limits)
    answer = await run_query(request, query)
    return web.Response(body=answer.body, content_type="application/json")
