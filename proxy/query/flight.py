"""A query as the flight that carries it to this upstream."""

from collections.abc import Mapping, Sequence

from proxy.engine.deadline import Deadline
from proxy.engine.flight import (
    BatchStatement,
    Transaction,
    build_batch_flight,
    build_flight,
)
from proxy.engine.upstream import Connected
from proxy.query.models import Query
from proxy.sql.setting import CLAIMS
from proxy.wire.messages import Flight

MAX_ROWS = 2**31 - 1  # that Execute can carry
NO_RESET_SINCE = 160_000  # Postgres 16 refuses to reset transaction_read_only
BACKSTOP_S = 1.0  # statement_timeout comes this long after our own deadline


def build_query_flight(connected: Connected, query: Query, deadline: Deadline) -> Flight:
    """Build the flight; what must be alone travels without the configured settings, too."""
    if query.statement.must_be_alone:
        return build_flight(query.sql, query.values, query.oids)
    if query.in_transaction:  # which has its settings since it began
        return build_flight(query.sql, query.values, query.oids, max_rows=_row_limit(query))
    return build_flight(
        query.sql,
        query.values,
        query.oids,
        settings=list_settings(connected, query.settings, query.role, deadline, query.claims),
        transaction=_transaction(connected, query),
        max_rows=_row_limit(query),
    )


def build_batch(
    connected: Connected, statements: Sequence[BatchStatement], first: Query, deadline: Deadline
) -> Flight:
    """Build the flight of statements which have the options of the `first` query."""
    if first.statement.must_be_alone or first.in_transaction:
        return build_batch_flight(statements)
    return build_batch_flight(
        statements,
        list_settings(connected, first.settings, first.role, deadline, first.claims),
        _transaction(connected, first),
    )


def list_settings(
    connected: Connected,
    wanted: Mapping[str, str],
    role: str | None,
    deadline: Deadline,
    claims: str | None = None,
) -> dict[str, str]:
    """List what travels in front of a statement: the configured settings, and a request's own."""
    if not (wanted or role or claims or connected.plan.flight):
        return {}
    settings = {**connected.plan.flight, **wanted}
    configured_role = settings.pop("role", None)
    if claims is not None:
        settings[CLAIMS] = claims
    if role := role or configured_role:
        settings["role"] = role  # the last one, since it may not be allowed to set the others
    backstop_ms = round((deadline.remaining_s() + BACKSTOP_S) * 1000)
    return {"statement_timeout": str(backstop_ms), **settings}  # the last one wins


def _transaction(connected: Connected, query: Query) -> Transaction | None:
    if not (query.isolation or query.read_only or query.dry_run):
        return None
    is_block = connected.profile.pool_mode != "statement"
    proves = query.read_only and can_reset_read_only(connected)
    return Transaction(query.isolation, query.read_only, query.dry_run, is_block, proves)


def can_reset_read_only(connected: Connected) -> bool:
    """Whether this server lets a statement take read_only back."""
    return connected.profile.server_version_num < NO_RESET_SINCE


def _row_limit(query: Query) -> int:
    """One more than wanted, so that it shows whether there are more; 0 for no limit."""
    if query.on_exceed == "error" or query.max_rows >= MAX_ROWS:
        return 0
    return query.max_rows + 1
