"""The upstream as the service knows it: profile, engine and lanes, once it has been reached."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.doctor.diagnosis import diagnose
from proxy.doctor.facts import Facts, Unexamined
from proxy.doctor.finding import Finding, Severity
from proxy.engine.catalogue import TypeCatalogue
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.driver import open_driver, translate_driver_errors
from proxy.engine.examination import examine
from proxy.engine.factory import build_engine
from proxy.engine.flight import build_flight
from proxy.engine.hooks import SessionPlan, install_hooks, plan_session
from proxy.engine.lane_pool import LanePool, PoolLimits
from proxy.engine.password import build_password
from proxy.engine.profile import UpstreamProfile, detect_upstream
from proxy.engine.reaper import AGE_SHARE, Reaper
from proxy.engine.self_test import prove_hand_over, prove_session
from proxy.errors import (
    DeadlineExceeded,
    Draining,
    PoolTimeout,
    ProxyError,
    UpstreamAuth,
    UpstreamUnavailable,
)
from proxy.settings import Settings
from proxy.stats.events import Emit
from proxy.wire.rowset import RowSet

RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # waits between attempts to reach it
_IDENTITY = b"""
select pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num'),
       not pg_catalog.pg_is_in_recovery()
"""
_log = logging.getLogger("pgsidecar.upstream")


@dataclass(frozen=True, slots=True)
class Connected:
    """What exists once the upstream has been proven."""

    profile: UpstreamProfile
    plan: SessionPlan
    engine: AsyncEngine
    lanes: LanePool
    reaper: Reaper
    catalogue: TypeCatalogue
    facts: Facts | Unexamined
    findings: tuple[Finding, ...]


class Upstream:
    """Reaches the upstream, goes on trying when it isn't there, and sees when it's another one."""

    def __init__(self, settings: Settings, emit: Emit, *, is_client: bool = False) -> None:
        """`is_client` is for an entry of `upstream.logins`."""
        self._settings = settings
        self._emit = emit
        self.password = build_password(settings.upstream, emit, self._age_connections)
        self._is_client = is_client
        self._said: frozenset[Finding] = frozenset()
        self._connected: Connected | None = None
        self._problem: ProxyError = UpstreamUnavailable("the upstream has not been reached yet")
        self._reaching: asyncio.Task[None] | None = None
        self._keeping: list[asyncio.Task[None]] = []  # the reaper, and looks at what may change
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_proven(self) -> bool:
        """Whether it has been reached."""
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
            self._use(await self._connect())
        except (UpstreamUnavailable, PoolTimeout) as error:  # the latter where it opens slowly
            self._problem = error
            self._reach()

    async def check(self, deadline: Deadline) -> None:
        """Prove that a statement can run now.

        Raises:
            ProxyError: why not.
        """
        try:
            async with self.connected.lanes.lease(deadline) as connection:
                await connection.run(build_flight(b"select 1"), RowSet(), deadline)
        except DeadlineExceeded as late:
            raise UpstreamUnavailable("the upstream doesn't answer in time") from late

    def cancel_running(self, cause: Callable[..., ProxyError]) -> None:
        """End every wait and every statement under way; their requests get `cause`."""
        if self._connected is not None:
            self._connected.lanes.cancel_all(cause)

    async def close(self) -> None:
        """Close what is open."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._connected is not None:
            await self._connected.lanes.close(Draining)
            await self._connected.engine.dispose()
        if self.password is not None:
            await self.password.close()

    def _use(self, connected: Connected) -> None:
        """Serve from `connected` on, and let what ran before finish where it is."""
        before, self._connected = self._connected, connected
        fields = {"evidence": connected.profile.evidence, "session": connected.plan.delivery}
        _log.info("upstream", extra={"fields": fields})
        self._say(connected.findings)
        self._keep(
            connected.reaper.run(self._settings.pool.max_age_s),
            self._watch(connected.profile),
            self._watch_password(),
        )
        if before is not None:
            self._own(asyncio.create_task(_close(before)))

    def _say(self, findings: tuple[Finding, ...]) -> None:
        """Log what is new."""
        for finding in findings:
            if finding.severity > Severity.INFO and finding not in self._said:
                _log.warning("finding", extra={"fields": finding.show()})
        self._said = frozenset(findings)

    def _leave(self, problem: ProxyError) -> None:
        """Serve no more from what proved to be different, and find out what it is now."""
        before, self._connected, self._problem = self._connected, None, problem
        _log.warning("upstream changed", extra={"fields": {"problem": problem.detail}})
        if before is not None:
            self._own(asyncio.create_task(_close(before)))
        self._reach()

    async def _watch(self, known: UpstreamProfile) -> None:
        """See when PgBouncer's pool mode is changed, since no connection tells."""
        while known.kind == "pgbouncer":
            await asyncio.sleep(self._settings.upstream.recheck_s)
            try:
                found = await detect_upstream(self._settings, self.password)
            except (UpstreamUnavailable, UpstreamAuth):
                continue  # requests meet that themselves
            except ProxyError as error:
                self._leave(error)
                return
            if found.treatment != known.treatment:
                self._leave(UpstreamUnavailable("the pool mode has changed; it is being looked at"))
                return

    async def _watch_password(self) -> None:
        """Log in by another password as soon as there is one, so that the old one's days end."""
        while self.password is not None:
            await asyncio.sleep(self._settings.upstream.recheck_s)
            with suppress(ProxyError), translate_driver_errors():  # requests meet that themselves
                if await self.password.has_changed():
                    async with open_driver(self._settings, self.password):
                        pass

    def _age_connections(self) -> None:
        if self._connected is not None:
            self._connected.reaper.age_all()

    def _reach(self) -> None:
        """Have the upstream looked at until it answers, unless that is under way."""
        if self._reaching is None or self._reaching.done():
            self._reaching = asyncio.create_task(self._go_on_trying())
            self._own(self._reaching)

    async def _go_on_trying(self) -> None:
        attempt = 0
        while True:
            try:
                self._use(await self._connect())
            except ProxyError as error:
                self._problem = error
            else:
                return
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1

    async def _connect(self) -> Connected:
        settings, emit = self._settings, self._emit
        profile = await detect_upstream(settings, self.password)
        plan = plan_session(settings.session, profile)
        engine = build_engine(
            settings,
            emit,
            autocommit=profile.pool_mode == "statement",
            password=self.password,
        )
        reaper = Reaper(engine, emit)
        install_hooks(engine, plan)

        async def open_one() -> UpstreamConnection:
            connection = await UpstreamConnection.open(engine, settings.limits.message_bytes, emit)
            if connection.is_new:
                await self._check_identity(connection, profile)
            return connection

        pool = settings.pool
        limits = PoolLimits(
            connections=pool.size + pool.overflow,
            waiters=pool.queue_size,
            checkout_timeout_s=pool.checkout_timeout_s,
            idle_s=min(pool.idle_s, pool.max_age_s / AGE_SHARE),  # the reaper has it from there
        )
        lanes = LanePool(open_one, limits, emit)
        deadline = Deadline.after(settings.upstream.connect_timeout_s)
        try:
            with translate_driver_errors():
                await prove_hand_over(lanes, engine, deadline)
                await prove_session(lanes, engine, plan, deadline)
            facts = await examine(lanes, engine, settings, profile)
        except BaseException:
            await lanes.close(Draining)
            await engine.dispose()
            raise
        catalogue = TypeCatalogue(partial(open_driver, settings, self.password))
        findings = diagnose(settings, facts, is_client=self._is_client)
        return Connected(profile, plan, engine, lanes, reaper, catalogue, facts, findings)

    async def _check_identity(
        self, connection: UpstreamConnection, profile: UpstreamProfile
    ) -> None:
        """See whether a new connection leads to the upstream that we know.

        Raises:
            UpstreamUnavailable: it doesn't; the new one is being looked at.
        """
        rows = RowSet()
        deadline = Deadline.after(self._settings.upstream.connect_timeout_s)
        try:
            await connection.run(build_flight(_IDENTITY), rows, deadline)
            ((pid, version, is_primary),) = rows.rows
        except (ProxyError, ValueError) as cause:
            await connection.discard()
            reason = cause.detail if isinstance(cause, ProxyError) else "it has no answer"
            raise UpstreamUnavailable(f"a new connection can't be used: {reason}") from cause
        is_direct = pid == str(connection.lane.backend_key()[0]).encode()
        found = (is_direct, version, is_primary == b"t")
        known = (
            profile.kind == "postgres",
            str(profile.server_version_num).encode(),
            profile.is_primary,
        )
        if found != known:
            await connection.discard()
            self._reach()
            raise UpstreamUnavailable("another server answers; it is being looked at")

    def _keep(self, *works: Coroutine[Any, Any, None]) -> None:
        for task in self._keeping:
            task.cancel()
        self._keeping = [asyncio.create_task(work) for work in works]
        for task in self._keeping:
            self._own(task)

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _close(connected: Connected) -> None:
    await connected.lanes.close()
    await connected.engine.dispose()
