"""Where a request comes from, as far as a browser tells: no page of somebody else's gets in.

A page can send requests to a service on its reader's machine, either across origins, which the
browser marks, or by a name of its own that it lets resolve to 127.0.0.1, which shows as `Host`.
"""

import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.errors import Forbidden
from proxy.settings_http import HttpSettings

_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d{1,5})?")
_OWN = frozenset({"", "none", "same-origin"})  # values of Sec-Fetch-Site
_ALLOW = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, If-None-Match, "
    "X-Request-Id, traceparent",
    "Access-Control-Max-Age": "600",
}
_EXPOSE = "X-Request-Id, Server-Timing, ETag, Retry-After, Location, WWW-Authenticate"


ORIGIN = web.RequestKey("origin", str)  # of a page that may read the answer


class OriginRule:
    """Which names of the service, and which origins of pages, are known."""

    def __init__(self, settings: HttpSettings) -> None:
        self._names = frozenset(("localhost", *map(str.lower, settings.allowed_hosts)))
        self._is_unix = settings.unix_socket is not None  # no name leads a browser there
        self._origins = frozenset(settings.cors_origins)
        self.knows_host = lru_cache(256)(self._knows_host)  # each request asks

    def _knows_host(self, host: str) -> bool:
        """Whether a Host header names us: an address can't be made to mean another one."""
        match = _HOST.fullmatch(host)
        if self._is_unix or "*" in self._names:
            return True
        name = match[1].lower().rstrip(".") if match else ""
        return name in self._names or _is_address(name.strip("[]"))

    def knows_origin(self, origin: str) -> bool:
        """Whether pages of this origin may read our answers."""
        return origin in self._origins


ORIGINS = web.AppKey("origins", OriginRule)


@web.middleware
async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse pages of other origins than those that `http.cors_origins` lists."""
    rule = request.app[ORIGINS]
    host = request.headers.get("Host", "")
    if not all(map(rule.knows_host, _list_hosts(request))):
        raise Forbidden("the Host header names somebody else; http.allowed_hosts lists our names")
    origin = request.headers.get("Origin")
    if origin is not None and rule.knows_origin(origin):
        request[ORIGIN] = origin
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=_ALLOW)
    elif not _is_own(request, origin, host):
        raise Forbidden("this is a page's request from another origin; see http.cors_origins")
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Tell a browser which page may read the answer, and to take it for nothing else."""
    if "Sec-Fetch-Site" in request.headers:
        response.headers["X-Content-Type-Options"] = "nosniff"
    origin = request.get(ORIGIN)
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSE
        response.headers["Vary"] = "Origin"


def _list_hosts(request: web.Request) -> list[str]:
    """List the names of whom it is meant for; HTTP/1.0 needs none, and no browser sends it."""
    hosts = request.headers.getall("Host", [])
    if request.raw_path.startswith("/"):
        return hosts
    return [*hosts, urlsplit(request.raw_path).netloc]


def _is_own(request: web.Request, origin: str | None, host: str) -> bool:
    """Whether no page sent it, or one of our own."""
    site = request.headers.get("Sec-Fetch-Site", "")
    return site in _OWN and origin in {None, f"http://{host}", f"https://{host}"}


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
