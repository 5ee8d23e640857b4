"""aiohttp without a database: the answer is always the same, as long as that of the point query."""

import os

import orjson
import uvloop
from aiohttp import web

BODY = orjson.dumps([{"text": "x" * int(os.environ["BENCH_BODY_BYTES"])}])


async def post_query(request: web.Request) -> web.Response:
    """Read the body as the others do, and answer."""
    orjson.loads(await request.read())
    return web.Response(body=BODY, headers={"Content-Type": "application/json"})


def main() -> None:
    """Serve until the end."""
    app = web.Application()
    app.add_routes([web.post("/query", post_query)])
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
