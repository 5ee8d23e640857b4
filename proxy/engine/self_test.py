"""What must be proven once before anybody is served."""

from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_flight
from proxy.engine.hooks import SessionPlan
from proxy.engine.lane_pool import LanePool
from proxy.errors import ProxyError
from proxy.wire.rowset import RowSet

# Postgres itself says what it makes of a value ("1min" for 60000); the columns go left to right
_COMPARE = b"select pg_catalog.current_setting($1,true), pg_catalog.set_config($1,$2,true)"


async def prove_hand_over(lanes: LanePool, engine: AsyncEngine, deadline: Deadline) -> None:
    """Prove that the lane can take a transport, run on it, and hand it back to asyncpg.

    Raises:
        ProxyError: asyncpg isn't built as we know it.
    """
    rows = RowSet()
    async with lanes.lease(deadline) as connection:
        await connection.run(build_flight(b"select 1"), rows, deadline)
    await lanes.release_idle()
    async with engine.connect() as checkout:
        proxied = await checkout.get_raw_connection()
        driver = cast("Any", proxied.driver_connection)
        if rows.rows != [(b"1",)] or await driver.fetchval("select 1") != 1:
            raise ProxyError("asyncpg's connection doesn't work after the lane has used it")


async def prove_session(
    lanes: LanePool, engine: AsyncEngine, plan: SessionPlan, deadline: Deadline
) -> None:
    """Prove that the configured session holds: on two lanes at once, and after a rollback.

    Raises:
        ProxyError: names a setting that doesn't hold, or that the server refuses.
    """
    lasting = {**plan.startup, **plan.on_connect}
    wanted = {**lasting, **plan.flight}
    if not wanted:
        return
    async with lanes.lease(deadline) as first:
        if lanes.gauges()["limit"] > 1:
            async with lanes.lease(deadline) as second:
                await _check_lane(second, wanted, plan, deadline)
        await _check_lane(first, wanted, plan, deadline)
    await lanes.release_idle()  # else a small pool has nothing left for the engine
    await _check_rollback(engine, lasting)


async def _check_lane(
    connection: UpstreamConnection, wanted: dict[str, str], plan: SessionPlan, deadline: Deadline
) -> None:
    for name, value in wanted.items():
        rows = RowSet()
        values = [name.encode(), value.encode()]
        flight = build_flight(_COMPARE, values, settings=plan.flight)
        answer = await connection.run(flight, rows, deadline)
        if answer.error is not None:
            raise ProxyError(f"session: {name} can't be set: {answer.error.message}")
        _compare(name, *rows.rows[0])


async def _check_rollback(engine: AsyncEngine, wanted: dict[str, str]) -> None:
    async with engine.connect() as checkout:
        for name, value in wanted.items():
            await checkout.rollback()
            row = await checkout.execute(
                text(
                    "select pg_catalog.current_setting(:name, true),"
                    " pg_catalog.set_config(:name, :value, true)"
                ),
                {"name": name, "value": value},
            )
            _compare(name, *row.one())


def _compare(name: str, is_now: object, expected: object) -> None:
    if is_now != expected:
        raise ProxyError(
            f"session: {name} does not hold on a connection of the pool; set it for the login role "
            "by ALTER ROLE … SET, or let it travel in session.settings"
        )
