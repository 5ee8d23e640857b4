"""The common recipe: FastAPI, uvicorn, SQLAlchemy's AsyncSession and text().

`/query` is what tutorials show; `/typed` declares the type of its answer, so that pydantic writes
the JSON in one go.
"""

import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(
    os.environ["BENCH_DSN"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=int(os.environ["BENCH_POOL"]),
    max_overflow=0,
    connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0},  # PgBouncer
)
new_session = async_sessionmaker(engine)
app = FastAPI()


class Statement(BaseModel):
    """The body of a request."""

    sql: str
    params: dict[str, Any] = {}  # Any: whatever JSON has


@app.post("/query")
async def post_query(statement: Statement):  # type: ignore[no-untyped-def] # noqa: ANN201 - the point of it
    """Answer with all rows."""
    return await list_rows(statement)


@app.post("/typed")
async def post_typed(statement: Statement) -> list[dict[str, Any]]:  # Any: whatever a cell has
    """Answer with all rows."""
    return await list_rows(statement)


async def list_rows(statement: Statement) -> list[dict[str, Any]]:  # Any: whatever a cell has
    """Run a statement in a session of its own."""
    async with new_session() as session:
        result = await session.execute(text(statement.sql), statement.params)
        return [dict(row) for row in result.mappings()]


@app.post("/stream")
async def post_stream(statement: Statement) -> StreamingResponse:
    """Answer with one line per row."""

    async def lines() -> AsyncIterator[bytes]:
        async with new_session() as session:
            result = await session.stream(text(statement.sql), statement.params)
            async for row in result.mappings():
                yield orjson.dumps(dict(row), default=str) + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
    )
