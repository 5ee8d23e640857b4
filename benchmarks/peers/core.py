"""aiohttp with SQLAlchemy Core: autocommit, no statement cache, orjson."""

import os

import orjson
import uvloop
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(
    os.environ["BENCH_DSN"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=int(os.environ["BENCH_POOL"]),
    max_overflow=0,
    isolation_level="AUTOCOMMIT",
    connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0},  # PgBouncer
)
streaming = engine.execution_options(isolation_level="READ COMMITTED")  # a cursor needs one
PARTITION_ROWS = 1000


async def post_query(request: web.Request) -> web.Response:
    """Answer with all rows."""
    body = orjson.loads(await request.read())
    async with engine.connect() as connection:
        result = await connection.execute(text(body["sql"]), body.get("params", {}))
        rows = [dict(row) for row in result.mappings()]
    return web.Response(
        body=orjson.dumps(rows, default=str), headers={"Content-Type": "application/json"}
    )


async def post_stream(request: web.Request) -> web.StreamResponse:
    """Answer with one line per row."""
    body = orjson.loads(await request.read())
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async with streaming.connect() as connection:
        result = await connection.stream(text(body["sql"]), body.get("params", {}))
        async for rows in result.mappings().partitions(PARTITION_ROWS):
            lines = [orjson.dumps(dict(row), default=str) for row in rows]
            await response.write(b"\n".join(lines) + b"\n")
    await response.write_eof()
    return response


def main() -> None:
    """Serve until the end."""
    app = web.Application()
    app.add_routes([web.post("/query", post_query), web.post("/stream", post_stream)])
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
