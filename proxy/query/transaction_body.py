"""The bodies of the requests that begin a transaction, use it, and end it."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from proxy.engine.flight import Isolation, Transaction
from proxy.errors import InvalidRequest
from proxy.query.batch_body import Batch, BatchBody, to_batch
from proxy.query.body import EXPECTED, Positive, QueryBody, decode_body
from proxy.query.models import (
    Query,
    QueryLimits,
    check_settings,
    choose_role,
    to_query,
    write_claims,
)
from proxy.settings_transaction import TransactionSettings

_MILLISECONDS = "a whole number of milliseconds from 1"


class TransactionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body that begins a transaction."""

    isolation: Isolation | None = None
    read_only: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    role: str | None = None
    claims: dict[str, Raw] | None = None
    idle_timeout_ms: Positive | None = None
    timeout_ms: Positive | None = None


class EndBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body that ends one."""

    timeout_ms: Positive | None = None


EXPECTED_TRANSACTION = {
    **{name: EXPECTED[name] for name in ("isolation", "read_only", "settings", "role", "claims")},
    "idle_timeout_ms": _MILLISECONDS,
    "timeout_ms": _MILLISECONDS,
}
_EXPECTED_END = {"timeout_ms": _MILLISECONDS}
_decode_transaction = Decoder(TransactionBody).decode
_decode_end = Decoder(EndBody).decode

_AT_BEGIN = "is given when the transaction begins; leave it out here"
_REFUSED = {
    "isolation": _AT_BEGIN,
    "read_only": _AT_BEGIN,
    "role": _AT_BEGIN,
    "claims": _AT_BEGIN,
    "settings": f"{_AT_BEGIN}, or run SET LOCAL, which holds to the transaction's end",
    "dry_run": "needs a transaction of its own; use SAVEPOINT and ROLLBACK TO SAVEPOINT",
}
_REFUSED_IN_BATCH = {
    "retry": "can't run again what the transaction did before; leave it out here, and after a "
    "conflict run the whole transaction again",
}


@dataclass(frozen=True, slots=True)
class TransactionOrder:
    """A transaction as it was asked for, checked."""

    transaction: Transaction
    settings: Mapping[str, str]
    role: str | None
    claims: str | None
    idle_s: float
    timeout_s: float


def parse_transaction(data: bytes) -> TransactionBody:
    """Read the body that begins a transaction; without one everything is as configured.

    Raises:
        InvalidRequest: names the place and the remedy.
    """
    return decode_body(data or b"{}", _decode_transaction, EXPECTED_TRANSACTION)


def parse_end(data: bytes) -> EndBody:
    """Read the body that ends a transaction; there needn't be one.

    Raises:
        InvalidRequest: names the place and the remedy.
    """
    return decode_body(data or b"{}", _decode_end, _EXPECTED_END)


def to_order(
    body: TransactionBody, limits: QueryLimits, settings: TransactionSettings
) -> TransactionOrder:
    """Check a body against the configuration; its own deadlines can only be sooner.

    Raises:
        InvalidRequest: a setting's value or a deadline is wrong.
        Forbidden: a setting, a role or claims are not open to requests.
        RequestTooLarge: the claims are.
    """
    check_settings(body.settings, limits.allowed_settings)
    role = choose_role(body.role, limits)
    return TransactionOrder(
        Transaction(body.isolation, body.read_only or limits.is_read_only),
        body.settings,
        role,
        write_claims(body.claims, limits),
        _find_s("idle_timeout_ms", body.idle_timeout_ms, "idle_s", settings.idle_s),
        _find_s("timeout_ms", body.timeout_ms, "timeout_s", settings.timeout_s),
    )


def to_inner_query(body: QueryBody, limits: QueryLimits) -> Query:
    """Check a query that runs in an open transaction.

    Raises:
        InvalidRequest: it asks for what only the beginning of a transaction can give.
        and as `to_query`.
    """
    _refuse(body, _REFUSED)
    return to_query(body, limits)._replace(in_transaction=True)


def to_inner_batch(body: BatchBody, limits: QueryLimits, max_statements: int) -> Batch:
    """Check a batch that runs in an open transaction.

    Raises:
        InvalidRequest: it asks for what only the beginning of a transaction can give, or for
            transactions of its own.
        and as `to_batch`.
    """
    _refuse(body, _REFUSED | _REFUSED_IN_BATCH)
    if body.mode != "atomic":
        raise InvalidRequest(
            f'mode "{body.mode}" needs transactions of its own; leave it out here, or send the '
            "batch to /v1/batch"
        )
    batch = to_batch(body, limits, max_statements)
    statements = [
        each._replace(query=each.query._replace(in_transaction=True)) for each in batch.statements
    ]
    return batch._replace(statements=tuple(statements))


def _refuse(body: QueryBody | BatchBody, refused: Mapping[str, str]) -> None:
    for name, reason in refused.items():
        if getattr(body, name):
            raise InvalidRequest(f"{name} {reason}")


def _find_s(member: str, wanted_ms: int | None, setting: str, ceiling_s: float) -> float:
    if wanted_ms is None:
        return ceiling_s
    if wanted_ms > ceiling_s * 1000:
        raise InvalidRequest(
            f"{member} is over the ceiling of {round(ceiling_s * 1000)} "
            f"(transactions.{setting}); lower it"
        )
    return wanted_ms / 1000
