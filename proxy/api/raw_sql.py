"""sql.mode = named: nothing runs but saved queries."""

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.errors import Forbidden

OPEN = frozenset(
    {
        "/v1/named",
        "/v1/named/{name}",
        "/v1/schema",
        "/v1/queries",
        "/v1/queries/{id}",
        "/openapi.json",
    }
)


@web.middleware
async def refuse_raw_sql(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close every endpoint but those that take no SQL; a new one is closed until it's listed."""
    resource = request.match_info.route.resource
    if resource is not None and resource.canonical not in OPEN:
        raise Forbidden(
            "this service runs saved queries alone (sql.mode = named); GET /v1/named lists them"
        )
    return await handler(request)
