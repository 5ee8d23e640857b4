"""Every URL, method and handler: start reading here."""

from aiohttp import web

from proxy.api.batch import post_batch
from proxy.api.copy import leave_body, post_copy
from proxy.api.describe import post_describe
from proxy.api.health import get_live, get_ready, get_startup, get_stats
from proxy.api.listen import get_listen
from proxy.api.named import get_named, get_named_query, post_named_query
from proxy.api.openapi import get_openapi
from proxy.api.query import post_query
from proxy.api.running import delete_query, get_queries
from proxy.api.schema import get_schema
from proxy.api.stream import post_stream
from proxy.api.transaction import (
    get_transaction,
    post_transaction,
    post_transaction_batch,
    post_transaction_commit,
    post_transaction_query,
    post_transaction_rollback,
    post_transaction_stream,
)

QUERY_ROUTES = (
    web.post("/v1/query", post_query),
    web.post("/v1/stream", post_stream),
    web.post("/v1/batch", post_batch),
    web.post("/v1/copy/{table}", post_copy, expect_handler=leave_body),
    web.post("/v1/transactions", post_transaction),
    web.get("/v1/transactions/{id}", get_transaction),
    web.post("/v1/transactions/{id}/query", post_transaction_query),
    web.post("/v1/transactions/{id}/stream", post_transaction_stream),
    web.post("/v1/transactions/{id}/batch", post_transaction_batch),
    web.post("/v1/transactions/{id}/commit", post_transaction_commit),
    web.post("/v1/transactions/{id}/rollback", post_transaction_rollback),
    web.get("/v1/queries", get_queries),
    web.delete("/v1/queries/{id}", delete_query),
    web.get("/v1/listen", get_listen),
    web.get("/v1/named", get_named),
    web.get("/v1/named/{name}", get_named_query),
    web.post("/v1/named/{name}", post_named_query),
    web.post("/v1/describe", post_describe),
    web.get("/v1/schema", get_schema),
    web.get("/openapi.json", get_openapi),
)

OPERATIONS_ROUTES = (
    web.get("/startup", get_startup),
    web.get("/ready", get_ready),
    web.get("/live", get_live),
    web.get("/stats", get_stats),
)
