"""Every URL, method and handler: start reading here."""

from aiohttp import web

from proxy.api.health import get_live, get_ready, get_startup, get_stats
from proxy.api.query import post_query
from proxy.api.stream import post_stream

QUERY_ROUTES = (
    web.post("/v1/query", post_query),
    web.post("/v1/stream", post_stream),
)

OPERATIONS_ROUTES = (
    web.get("/startup", get_startup),
    web.get("/ready", get_ready),
    web.get("/live", get_live),
    web.get("/stats", get_stats),
)
