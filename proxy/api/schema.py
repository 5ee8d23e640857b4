"""GET /v1/schema"""

from aiohttp import web

from proxy.api.body import read_query_string
from proxy.api.etag import answer_unless_known
from proxy.errors import InvalidRequest
from proxy.keys import EXCHANGE, LOGIN, POLICY
from proxy.query.params import SHOWN_NAME, did_you_mean

OPTIONS = ("schema",)


async def get_schema(request: web.Request) -> web.Response:
    """Show tables, columns, keys and indexes; 304 if the client has them."""
    limits = request[POLICY].limits
    deadline = request[EXCHANGE].set_deadline(limits.timeout_s)
    body = await request[LOGIN].schemas.read(_read_schema(request), limits.bytes, deadline)
    return answer_unless_known(request, body, body)


def _read_schema(request: web.Request) -> str | None:
    pairs = read_query_string(request)
    for name, value in pairs:
        if name not in OPTIONS:
            hint = did_you_mean(name, OPTIONS)
            raise InvalidRequest(f"unknown query parameter '{name[:SHOWN_NAME]}'{hint}")
        if not value or "\0" in value:
            raise InvalidRequest("schema must be a schema's name")
    if len(pairs) > 1:
        raise InvalidRequest("schema is given more than once; ask for one, or for all")
    return pairs[0][1] if pairs else None
