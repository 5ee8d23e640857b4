"""Who asks, what he may do, and as which login his statements run."""

from contextlib import ExitStack

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.api.scopes import check_scope
from proxy.auth.identity import Identity
from proxy.errors import Forbidden
from proxy.keys import AUTHENTICATOR, EXCHANGE, LOGIN, LOGINS, POLICIES, POLICY, SETTINGS

PROBES = frozenset({"/startup", "/ready", "/live"})


@web.middleware
async def identify_client(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody in without a token, where tokens are configured, nor beyond his scopes."""
    identity = _identify(request)
    request[LOGIN] = request.app[LOGINS].choose(identity.client)
    policy = request[POLICY] = request.app[POLICIES].choose(identity)
    with ExitStack() as stack:
        for quota in check_scope(request, policy):
            quota.enter()
            stack.callback(quota.leave)
        return await handler(request)


@web.middleware
async def identify_operator(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let everybody probe; the rest is for clients with its scope, or for this machine."""
    resource = request.match_info.route.resource
    if resource is not None and resource.canonical in PROBES:
        return await handler(request)
    if request.app[SETTINGS].has_strangers:
        raise Forbidden(
            "ops.host is open to the network, which gets the probes alone; set auth.tokens_dir, "
            "or say auth.open_network = true"
        )
    if not request.app[AUTHENTICATOR].is_open:
        check_scope(request, request.app[POLICIES].choose(_identify(request)))
    return await handler(request)


def _identify(request: web.Request) -> Identity:
    authorization = ", ".join(request.headers.getall("Authorization", ()))
    identity = request.app[AUTHENTICATOR].identify(authorization)
    request[EXCHANGE].client = identity.client
    return identity
