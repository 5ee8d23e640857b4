"""Answers that a client may have already: ETag and If-None-Match."""

from hashlib import blake2b

from aiohttp import web

from proxy.keys import COUNTERS
from proxy.stats.events import Event

ETAG_BYTES = 16
ANY = "*"  # as aiohttp reads it
_NOT_MODIFIED = 304


def answer_unless_known(
    request: web.Request, body: bytes, content: bytes | memoryview
) -> web.Response:
    """Answer with `body`, or by 304 if the client has it; `content` is what its tag depends on."""
    tag = blake2b(content, digest_size=ETAG_BYTES).hexdigest()
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
    known = {etag.value for etag in request.if_none_match or ()}
    if known & {tag, ANY}:
        request.app[COUNTERS].count(Event.NOT_MODIFIED)
        return web.Response(status=_NOT_MODIFIED, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
