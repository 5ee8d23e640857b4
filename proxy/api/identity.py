"""Who asks, and as which login the statements run."""

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.keys import EXCHANGE, LOGIN, LOGINS, TOKENS


@web.middleware
async def identify_client(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody in without a token, where tokens are configured."""
    authorization = ", ".join(request.headers.getall("Authorization", ()))
    client = request.app[TOKENS].identify(authorization)
    request[EXCHANGE].client = client
    request[LOGIN] = request.app[LOGINS].choose(client)
    return await handler(request)
