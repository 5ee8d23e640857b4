"""A login whose password changes while we run."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from proxy.engine.pause import Pause
from proxy.engine.secret import Secret, SecretCommand, SecretFile
from proxy.engine.sqlstate import is_password_refused
from proxy.errors import ProxyError, UpstreamAuth
from proxy.settings_upstream import UpstreamSettings
from proxy.stats.events import Emit, Event

MAX_REFUSED = 8  # passwords that are remembered as refused
_log = logging.getLogger("pgsidecar.password")

Connect = Callable[[str], Awaitable["asyncpg.Connection[Any]"]]


def _do_nothing() -> None:
    """Nobody wants to know."""


class Password:
    """Logs in with the password that holds now, and says when another one was accepted.

    The one that was accepted last serves as long as the server takes it and not yet the new one, or
    the new one can't be read: file and server are never changed in the same moment. A refused
    password is tried again after a pause only, which grows; another one at once.
    """

    def __init__(
        self, secret: Secret, emit: Emit, on_change: Callable[[], None] = _do_nothing
    ) -> None:
        self._secret = secret
        self._emit = emit
        self._on_change = on_change
        self._accepted: str | None = None
        self._changes = 0
        self._refused: set[str] = set()
        self._pause = Pause()
        self._problem = ""

    async def log_in(self, connect: Connect) -> "asyncpg.Connection[Any]":
        """Open a connection by `connect`, which gets the password.

        Raises:
            UpstreamAuth, UpstreamUnavailable: there is no password, or a pause after a refusal.
            asyncpg.PostgresError: it was refused, after another look at its source.
            what `connect` raises, and it isn't for the password
        """
        error: Exception | None = None
        rejected: str | None = None
        changes = self._changes
        for read in (self._read, self._read, self._recall, self._read):
            try:
                password = await read(rejected)
            except ProxyError as problem:
                error = error or problem
                continue
            if password is None or self._is_barred(password):
                continue
            try:
                connection = await connect(password)
            except asyncpg.PostgresError as cause:
                if not is_password_refused(cause.sqlstate, str(cause)):
                    raise
                error, rejected = error or cause, password
                self._bar(password)
                continue
            if self._is_late(password, changes):
                connection.terminate()
                return await self.log_in(connect)
            self._accept(password)
            return connection
        raise error or UpstreamAuth("the upstream has refused our password; it's tried again soon")

    async def has_changed(self) -> bool:
        """Whether there is a password that isn't the one accepted last.

        Raises:
            UpstreamAuth, UpstreamUnavailable: there is none.
        """
        return await self._read(None) != self._accepted

    async def close(self) -> None:
        """End what runs."""
        await self._secret.close()

    async def _read(self, rejected: str | None) -> str:
        try:
            password = await self._secret.read(rejected)
        except ProxyError as problem:
            if problem.detail != self._problem:
                self._emit(Event.PASSWORD_UNREADABLE, 1)
                _log.warning("no password", extra={"fields": {"problem": problem.detail}})
            self._problem = problem.detail
            raise
        self._problem = ""
        return password

    async def _recall(self, _rejected: str | None) -> str | None:
        return self._accepted

    def _is_barred(self, password: str) -> bool:
        """Whether it's too early to try it again; if not, others have to wait for the outcome."""
        if password not in self._refused:
            return False
        if not self._pause.is_over:
            return True
        self._pause.lengthen()
        return False

    def _bar(self, password: str) -> None:
        self._emit(Event.PASSWORD_REFUSED, 1)
        if password in self._refused:
            return
        _log.warning("password refused")
        is_news = password == self._accepted  # so what was refused before may be good now
        if is_news or len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        if is_news:
            self._pause = Pause()
        self._refused.add(password)
        if self._pause.is_over:
            self._pause.lengthen()

    def _is_late(self, password: str, changes: int) -> bool:
        """Whether another login has had a newer one accepted since this one began."""
        return changes != self._changes and password != self._accepted

    def _accept(self, password: str) -> None:
        self._refused.discard(password)
        if password == self._accepted:
            return
        is_first, self._accepted = self._accepted is None, password
        self._changes += 1
        self._refused.clear()
        self._pause = Pause()
        if is_first:
            return
        self._emit(Event.PASSWORD_CHANGED, 1)
        _log.info("password changed")
        self._on_change()


def build_password(
    upstream: UpstreamSettings, emit: Emit, on_change: Callable[[], None] = _do_nothing
) -> Password | None:
    """Make the password of `upstream.dsn`; None where only the DSN itself may have one."""
    if upstream.password_file is not None:
        secret: Secret = SecretFile(upstream.password_file, "upstream.password_file")
    elif upstream.password_command:
        secret = SecretCommand(
            upstream.password_command, upstream.password_life_s, upstream.password_timeout_s
        )
    else:
        return None
    return Password(secret, emit, on_change)
