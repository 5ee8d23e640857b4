"""JSON Web Tokens, verified by the keys of a file, and what they say of their client.

Source: RFC 7519 (claims), RFC 7517 (keys), RFC 8725 (what verifiers get wrong).
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from proxy.auth.identity import Identity
from proxy.errors import ProxyError, Unauthorized
from proxy.repeat import repeat
from proxy.settings_auth import AuthSettings
from proxy.stats.events import Emit, Event

LEEWAY_S = 30.0  # between the clocks of issuer and service
REMEMBERED = 1000  # tokens that have been verified
MAX_FILE_BYTES = 1024 * 1024
MAX_CLIENT = 128  # characters of `sub`
_log = logging.getLogger("pgsidecar.auth")

Claims = Mapping[str, Any]  # whatever JSON the issuer has signed


class _Verified(NamedTuple):
    identity: Identity
    expires_at: float


class JwtVerifier:
    """Verifies tokens; the algorithm is the key's own, and never what a token asks for."""

    def __init__(self, settings: AuthSettings, emit: Emit, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._emit = emit
        self._clock = clock  # seconds since 1970, as in a token
        self.is_on = settings.jwt_keys_file is not None
        self._jwt: Any = _import() if self.is_on else None  # a library of an extra
        self._keys: Mapping[str | None, Any] = {}  # PyJWT's, by their id
        self._text = b""
        self._problem = ""
        self._known: OrderedDict[bytes, _Verified] = OrderedDict()

    @asynccontextmanager
    async def watch(self, reload_s: float) -> AsyncIterator[None]:
        """Read the keys, and look for changes as long as the block lasts.

        Raises:
            ProxyError: the file can't be used.
        """
        path = self._settings.jwt_keys_file
        if path is None:
            yield
            return
        try:
            self._use(await asyncio.to_thread(_read, path))
        except (OSError, ValueError) as cause:
            raise ProxyError(f"auth.jwt_keys_file: {_describe(cause)}") from cause
        async with repeat(lambda: self._reload(path), reload_s):
            yield

    def verify(self, token: str) -> Identity:
        """Find out whose token it is.

        Raises:
            Unauthorized: it isn't signed by one of the keys, isn't for us, or not any more.
        """
        if not token.isascii():
            raise Unauthorized("the token has characters that no token has")
        digest = sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = self._verify(token)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        if known.expires_at + LEEWAY_S <= self._clock():
            del self._known[digest]
            raise Unauthorized("the token has expired")
        return known.identity

    def _verify(self, token: str) -> _Verified:
        jwt, settings = self._jwt, self._settings
        try:
            key = self._find_key(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=settings.jwt_algorithms,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub"]},
            )
            return _Verified(_identify(claims, settings), float(claims["exp"]))
        except jwt.PyJWTError as cause:
            # its words name the claim that is wrong, never a value
            raise Unauthorized(f"the token can't be taken: {cause}") from cause
        except (RecursionError, OverflowError) as cause:  # before or behind the signature
            raise Unauthorized("the token holds what nobody would issue") from cause

    def _find_key(self, header: Claims) -> Any:
        """Find the key that signed it; a token without an id has the only one there is."""
        key_id = header.get("kid")
        keys = self._keys
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        if not isinstance(key_id, str) or key_id not in keys:
            raise Unauthorized("the token is signed by a key that isn't known here")
        return keys[key_id]

    async def _reload(self, path: Path) -> None:
        try:
            text = await asyncio.to_thread(_read, path)
            if text == self._text:
                return
            self._use(text)
        except (OSError, ValueError) as cause:
            if (problem := _describe(cause)) != self._problem:
                _log.warning("keys refused", extra={"fields": {"problem": problem}})
            self._problem = problem
            return
        self._emit(Event.TOKENS_RELOADED, 1)
        _log.info("keys reloaded", extra={"fields": {"keys": len(self._keys)}})

    def _use(self, text: bytes) -> None:
        """Take the keys; tokens of keys that are gone are known no longer."""
        try:
            keys = self._jwt.PyJWKSet.from_dict(json.loads(text)).keys
        except (self._jwt.PyJWTError, KeyError, TypeError, AttributeError) as cause:
            raise ValueError("it holds no usable key set (RFC 7517)") from cause
        usable = {key.key_id: key for key in keys if key.public_key_use in {None, "sig"}}
        if len(usable) < len(keys):
            raise ValueError("two keys have the same kid, or one is not for signatures")
        if wrong := {key.algorithm_name for key in keys} - {*self._settings.jwt_algorithms}:
            raise ValueError(f"it has a key for {min(wrong)}, which auth.jwt_algorithms lacks")
        self._keys, self._text, self._problem = usable, text, ""
        self._known.clear()


def _identify(claims: Claims, settings: AuthSettings) -> Identity:
    """Read who the client is, and what the token narrows it to.

    Raises:
        Unauthorized: a claim has another form than it must have.
    """
    client = claims["sub"]
    if not 0 < len(client) <= MAX_CLIENT:
        raise Unauthorized("the token's sub is empty or too long")
    scopes = claims.get(settings.jwt_scope_claim)
    if isinstance(scopes, str):
        scopes = scopes.split()
    is_list = isinstance(scopes, list) and all(isinstance(each, str) for each in scopes)
    if scopes is not None and not is_list:
        raise Unauthorized(f"the token's {settings.jwt_scope_claim} is no list of scopes")
    role = claims.get(settings.jwt_role_claim) if settings.jwt_role_claim else None
    if not isinstance(role, str | None):
        raise Unauthorized(f"the token's {settings.jwt_role_claim} is no role")
    return Identity(
        client=client,
        scopes=None if scopes is None else frozenset(scopes),
        role=role,
        chooses_role=settings.jwt_role_claim is None,
        claims=json.dumps(claims, separators=(",", ":")),
    )


def _read(path: Path) -> bytes:
    """Read the keys' file; blocks, so it's for a thread."""
    if not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
    return data


def _describe(cause: OSError | ValueError) -> str:
    if isinstance(cause, OSError):
        return f"it can't be read: {cause.strerror}"
    return "it is no JSON" if isinstance(cause, json.JSONDecodeError) else str(cause)


def _import() -> Any:
    try:
        import jwt  # noqa: PLC0415  # only where it's configured
    except ImportError as cause:
        raise ProxyError(
            "auth.jwt_keys_file needs PyJWT; install pgsidecar with its extra: pgsidecar[jwt]"
        ) from cause
    return jwt
