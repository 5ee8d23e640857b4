"""Every URL, method and handler: start reading here."""

from aiohttp import web

from proxy.api.copy import leave_body, post_copy
from proxy.api.health import get_live, get_ready, get_startup, get_stats
from proxy.api.query import post_query
from proxy.api.stream import post_stream

QUERY_ROUTES = (
    web.post("/v1/query", post_query),
    web.post("/v1/stream", post_stream),
    web.post("/v1/copy/{table}", post_copy, expect_handler=leave_body),
)

OPERATIONS_ROUTES = (
    web.get("/startup", get_startup),
    web.get("/ready", get_ready),
    web.get("/live", get_live),
    web.get("/stats", get_stats),
)
