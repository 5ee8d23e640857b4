"""What each client may do, and how much of it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy.auth.identity import Identity
from proxy.errors import Forbidden
from proxy.query.models import QueryLimits
from proxy.query.quota import Quota
from proxy.settings import Settings
from proxy.settings_auth import ClientSettings

_ANY = ":*"


@dataclass(frozen=True, slots=True)
class Policy:
    """One client's scopes and limits, those of a stream apart."""

    where: str  # the setting that gives the scopes
    scopes: frozenset[str]
    limits: QueryLimits
    stream_limits: QueryLimits
    quota: Quota | None
    stream_quota: Quota | None = None  # of streams and of those who listen, on top
    transactions: int | None = None  # that may be open at once

    def allows(self, scope: str) -> bool:
        """Whether the client has this scope; `named:*` stands for every `named:…`."""
        return scope in self.scopes or scope.partition(":")[0] + _ANY in self.scopes

    def require(self, scope: str) -> None:
        """Raise Forbidden without this scope."""
        if not self.allows(scope):
            raise Forbidden(f"this needs the scope {scope}, which {self.where} doesn't give")


class Policies:
    """The policy of each client, and the one of all whom the settings don't name."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._default = _build(settings, ClientSettings(), "auth.scopes", clock)
        self._by_client = {
            client: _build(settings, own, f"auth.clients.{client}.scopes", clock)
            for client, own in settings.auth.clients.items()
        }

    def choose(self, identity: Identity) -> Policy:
        """Choose the policy of a client, and narrow it to what the token says."""
        client = identity.client
        policy = self._by_client.get(client, self._default) if client else self._default
        return policy if identity.claims is None else _narrow(policy, identity)


def _narrow(policy: Policy, identity: Identity) -> Policy:
    """Take away the scopes that the token lacks, and have its role and claims hold."""
    scopes = policy.scopes
    if identity.scopes is not None:
        scopes = frozenset(each for each in identity.scopes if policy.allows(each))

    def fix(limits: QueryLimits) -> QueryLimits:
        return replace(
            limits,
            is_read_only="write" not in scopes,
            role=identity.role,
            allowed_roles=tuple(
                role
                for role in limits.allowed_roles
                if identity.chooses_role or role == identity.role
            ),
            claims=identity.claims if limits.allow_claims else None,
        )

    return replace(
        policy,
        where="the token",
        scopes=scopes,
        limits=fix(policy.limits),
        stream_limits=fix(policy.stream_limits),
    )


def _build(
    settings: Settings, own: ClientSettings, where: str, clock: Callable[[], float]
) -> Policy:
    scopes = frozenset(settings.auth.scopes if own.scopes is None else own.scopes)
    has_streams = own.streams is not None
    has_quota = own.concurrency is not None or own.per_s is not None
    limits = _limits(settings, own, is_read_only="write" not in scopes)
    return Policy(
        where="auth.scopes" if own.scopes is None else where,
        scopes=scopes,
        limits=limits,
        stream_limits=_stream_limits(settings, own, limits),
        quota=Quota(own.concurrency, own.per_s, clock) if has_quota else None,
        stream_quota=Quota(own.streams, None, clock, what="streams") if has_streams else None,
        transactions=own.transactions,
    )


def _limits(settings: Settings, own: ClientSettings, *, is_read_only: bool) -> QueryLimits:
    limits, session = settings.limits, settings.session
    timeout_max_s = min(own.timeout_s or limits.timeout_max_s, limits.timeout_max_s)
    return QueryLimits(
        rows=min(own.rows or limits.rows, limits.rows),
        bytes=min(own.bytes or limits.bytes, limits.bytes),
        timeout_s=min(limits.timeout_s, timeout_max_s),
        timeout_max_s=timeout_max_s,
        sql_bytes=limits.sql_bytes,
        allowed_settings=session.allowed_settings,
        allowed_roles=session.allowed_roles,
        allow_claims=session.allow_claims,
        is_read_only=is_read_only,
    )


def _stream_limits(settings: Settings, own: ClientSettings, limits: QueryLimits) -> QueryLimits:
    """A stream has a deadline of its own, and as many rows and bytes as there are."""
    timeout_s = min(own.timeout_s or sys.maxsize, settings.limits.stream_timeout_s)
    return replace(
        limits,
        rows=sys.maxsize,
        bytes=sys.maxsize,
        timeout_s=timeout_s,
        timeout_max_s=timeout_s,
    )
