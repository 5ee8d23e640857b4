"""Whom a request comes from: a bearer token from the directory, or a JSON Web Token."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time

from proxy.auth.identity import Identity
from proxy.auth.jwt import JwtVerifier
from proxy.auth.tokens import TokenFolder
from proxy.errors import Unauthorized
from proxy.settings_auth import AuthSettings
from proxy.stats.events import Emit, Event

_HEADER = re.compile(r"Bearer +(\S+)", re.IGNORECASE | re.ASCII)
_ANYBODY = Identity()


class Authenticator:
    """Knows clients by the tokens that they send."""

    def __init__(self, settings: AuthSettings, emit: Emit) -> None:
        self._emit = emit
        self._reload_s = settings.reload_s
        self._tokens = TokenFolder(settings.tokens_dir, emit)
        self._jwt = JwtVerifier(settings, emit, time)
        self.is_open = not settings.has_tokens  # anybody may ask

    def identify(self, authorization: str) -> Identity:
        """Find whom an Authorization header belongs to.

        Raises:
            Unauthorized: there is no token, or nobody has this one.
        """
        if self.is_open:
            return _ANYBODY
        try:
            return self._identify(authorization)
        except Unauthorized:
            self._emit(Event.TOKEN_REFUSED, 1)
            raise

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Read tokens and keys, and look for changes as long as the block lasts.

        Raises:
            ProxyError: a file can't be used.
        """
        async with self._tokens.watch(self._reload_s), self._jwt.watch(self._reload_s):
            yield

    def _identify(self, authorization: str) -> Identity:
        match = _HEADER.fullmatch(authorization)
        if match is None:
            raise Unauthorized("a token is needed: Authorization: Bearer …")
        client = self._tokens.find(match[1])
        if client is not None:
            return Identity(client)
        if self._jwt.is_on:
            return self._jwt.verify(match[1])
        raise Unauthorized("nobody here has this token; see auth.tokens_dir")
