"""The upstream as the service knows it: profile, engine and lanes, once it has been reached."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.engine.catalogue import TypeCatalogue
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.factory import build_engine
from proxy.engine.flight import build_flight
from proxy.engine.hooks import SessionPlan, install_hooks, plan_session
from proxy.engine.lease import LanePool, PoolLimits
from proxy.engine.profile import UpstreamProfile, detect_upstream
from proxy.errors import ProxyError, UpstreamUnavailable
from proxy.settings import Settings
from proxy.stats.events import Emit
from proxy.wire.rowset import RowSet

RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # waits between attempts to reach it for the first time


@dataclass(frozen=True, slots=True)
class Connected:
    """What exists once the upstream has been proven."""

    profile: UpstreamProfile
    plan: SessionPlan
    engine: AsyncEngine
    lanes: LanePool
    catalogue: TypeCatalogue


class Upstream:
    """Reaches the upstream, and goes on trying when it isn't there yet."""

    def __init__(self, settings: Settings, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit
        self._connected: Connected | None = None
        self._problem: ProxyError = UpstreamUnavailable("the upstream has not been reached yet")
        self._retrying: asyncio.Task[None] | None = None

    @property
    def is_proven(self) -> bool:
        """Whether it has been reached once."""
        return self._connected is not None

    @property
    def connected(self) -> Connected:
        """The parts.

        Raises:
            UpstreamUnavailable, UpstreamAuth: why there are none yet.
        """
        if self._connected is None:
            raise self._problem
        return self._connected

    async def start(self) -> None:
        """Try to reach it; when it isn't there, go on trying beside.

        Raises:
            ProxyError: a failure that only another configuration can mend.
        """
        try:
            self._connected = await self._connect()
        except UpstreamUnavailable as error:
            self._problem = error
            self._retrying = asyncio.get_running_loop().create_task(self._retry())

    async def check(self, deadline: Deadline) -> None:
        """Prove that a statement can run now.

        Raises:
            ProxyError: why not.
        """
        async with self.connected.lanes.lease(deadline) as connection:
            await connection.run(build_flight(b"select 1"), RowSet(), deadline)

    def cancel_running(self, cause: Callable[..., ProxyError]) -> None:
        """End every wait and every statement under way; their requests get `cause`."""
        if self._connected is not None:
            self._connected.lanes.cancel_all(cause)

    async def close(self) -> None:
        """Close what is open."""
        if self._retrying is not None:
            self._retrying.cancel()
        if self._connected is not None:
            await self._connected.lanes.close()
            await self._connected.engine.dispose()

    async def _retry(self) -> None:
        attempt = 0
        while self._connected is None:
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1
            try:
                self._connected = await self._connect()
            except ProxyError as error:
                self._problem = error

    async def _connect(self) -> Connected:
        settings, emit = self._settings, self._emit
        profile = await detect_upstream(settings)
        plan = plan_session(settings.session, profile)
        engine = build_engine(settings, emit, autocommit=profile.pool_mode == "statement")
        try:
            install_hooks(engine, plan)

            async def open_one() -> UpstreamConnection:
                return await UpstreamConnection.open(engine, settings.limits.message_bytes, emit)

            limits = PoolLimits(
                connections=settings.pool.size + settings.pool.overflow,
                waiters=settings.pool.queue_size,
                checkout_timeout_s=settings.pool.checkout_timeout_s,
                idle_s=settings.pool.idle_s,
            )
            lanes = LanePool(open_one, limits, emit)
            await _prove_hand_over(lanes, engine, settings.upstream.connect_timeout_s)
        except BaseException:
            await engine.dispose()
            raise
        return Connected(profile, plan, engine, lanes, TypeCatalogue())


async def _prove_hand_over(lanes: LanePool, engine: AsyncEngine, timeout_s: float) -> None:
    """Prove that the lane can take a transport, run on it, and hand it back to asyncpg."""
    deadline = Deadline.after(timeout_s)
    async with lanes.lease(deadline) as connection:
        rows = RowSet()
        await connection.run(build_flight(b"select 1"), rows, deadline)
    await lanes.release_idle()
    async with engine.connect() as checkout, asyncio.timeout(timeout_s):
        proxied = await checkout.get_raw_connection()
        if (
            rows.rows != [(b"1",)]
            or await cast("Any", proxied.driver_connection).fetchval("select 1") != 1
        ):
            raise ProxyError("asyncpg's connection doesn't work after the lane has used it")
