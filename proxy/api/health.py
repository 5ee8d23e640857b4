"""Probes and statistics on the operations listener."""

import asyncio
from dataclasses import asdict
from importlib.metadata import version

import orjson
from aiohttp import web

from proxy.encoders.stitcher import IMPLEMENTATION
from proxy.engine.deadline import Deadline
from proxy.engine.upstream import Upstream
from proxy.errors import ProxyError
from proxy.keys import COUNTERS, LIFECYCLE, LOGINS, SAVED

READY_S = 2.0


async def get_startup(request: web.Request) -> web.Response:
    """Whether the upstream has been proven once."""
    profile = request.app[LOGINS].default.upstream.connected.profile
    return _json({"status": "started", "upstream": profile.kind})


async def get_ready(request: web.Request) -> web.Response:
    """Whether a statement can run now, and we aren't draining."""
    request.app[LIFECYCLE].check()
    await request.app[LOGINS].default.upstream.check(Deadline.after(READY_S))
    return _json({"status": "ready"})


async def get_live(_request: web.Request) -> web.Response:
    """Whether the event loop answers; never asks the upstream."""
    return _json({"status": "live"})


async def get_stats(request: web.Request) -> web.Response:
    """Everything that is counted, as JSON."""
    lifecycle = request.app[LIFECYCLE]
    uptime_s = asyncio.get_running_loop().time() - lifecycle.started_at
    return _json(
        {
            "version": version("pgsidecar"),
            "uptime_s": round(uptime_s, 3),
            "state": "draining" if lifecycle.is_draining else "running",
            "rows": IMPLEMENTATION,
            "requests_running": len(lifecycle.running),
            **_upstream_stats(request.app[LOGINS].default.upstream),
            "logins": {
                client: _upstream_stats(login.upstream)
                for client, login in request.app[LOGINS].of_clients.items()
            },
            "transactions": request.app[LOGINS].default.transactions.gauges(),
            "listeners": request.app[LOGINS].default.subscriptions.gauges(),
            "named": request.app[SAVED].report(),
            "tags": request.app[COUNTERS].snapshot_tags(),
            "events": request.app[COUNTERS].snapshot(),
        }
    )


def _upstream_stats(upstream: Upstream) -> dict[str, object]:
    try:
        connected = upstream.connected
    except ProxyError as problem:
        return {"upstream": {"problem": problem.detail}, "pool": None, "findings": []}
    return {
        "upstream": asdict(connected.profile),
        "session": connected.plan.delivery,
        "pool": connected.lanes.gauges(),
        "findings": [finding.show() for finding in connected.findings],
    }


def _json(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
