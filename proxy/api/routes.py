"""Every URL, method and handler: start reading here."""

from aiohttp import web

from proxy.api.health import get_live, get_ready, get_startup, get_stats
from proxy.api.query import post_query

QUERY_ROUTES = (web.post("/v1/query", post_query),)

OPERATIONS_ROUTES = (
    web.get("/startup", get_startup),
    web.get("/ready", get_ready),
    web.get("/live", get_live),
    web.get("/stats", get_stats),
)
