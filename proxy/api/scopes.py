"""Which scope each endpoint needs; one that isn't listed is closed to everybody."""

from aiohttp import web

from proxy.errors import Forbidden
from proxy.query.policy import Policy
from proxy.query.quota import Quota

SCOPES = {
    "/v1/query": "query",
    "/v1/batch": "query",
    "/v1/describe": "query",
    "/v1/schema": "query",
    "/v1/transactions": "query",
    "/v1/transactions/{id}": "query",
    "/v1/transactions/{id}/query": "query",
    "/v1/transactions/{id}/batch": "query",
    "/v1/transactions/{id}/stream": "stream",
    "/v1/transactions/{id}/commit": "query",
    "/v1/transactions/{id}/rollback": "query",
    "/v1/stream": "stream",
    "/v1/copy/{table}": "copy",
    "/v1/listen": "listen",
    "/v1/named/{name}": "named:{name}",
    "/stats": "stats",
}
STREAMS = frozenset({"stream", "listen"})  # scopes of what stays open
WITHOUT_SCOPE = frozenset(  # what they show and end is the client's own
    {"/openapi.json", "/v1/named", "/v1/queries", "/v1/queries/{id}", "/startup", "/ready", "/live"}
)


def check_scope(request: web.Request, policy: Policy) -> list[Quota]:
    """Check the scope of the endpoint; lists the quotas that the request counts against.

    Raises:
        Forbidden: the client lacks it.
    """
    resource = request.match_info.route.resource
    if resource is None or resource.canonical in WITHOUT_SCOPE:
        return []
    scope = SCOPES.get(resource.canonical)
    if scope is None:
        raise Forbidden("this endpoint has no scope, so nobody may use it")
    policy.require(scope.format_map(request.match_info))
    quotas = (policy.quota, policy.stream_quota if scope in STREAMS else None)
    return [quota for quota in quotas if quota is not None]
