"""What a request may run, as far as its words tell; SECURITY.md says how far that is."""

from proxy.engine.hooks import SessionPlan
from proxy.engine.profile import UpstreamProfile
from proxy.errors import (
    InvalidRequest,
    NeedsBareFlight,
    NeedsSession,
    NeedsTransactions,
    StatementNotAllowed,
)
from proxy.query.models import Query
from proxy.sql.statement import Statement


def check_query(query: Query, profile: UpstreamProfile, plan: SessionPlan) -> None:
    """Refuse what would leave something behind, or leave its protection, before it is sent.

    Raises:
        InvalidRequest: it holds no statement, or several.
        StatementNotAllowed: transaction words, COPY, and CALL or DO under protection.
        NeedsSession, NeedsBareFlight, NeedsTransactions: see docs/reference/errors.md.
    """
    statement = query.statement
    check_single(statement)
    if query.in_transaction:
        _check_inside(statement)
        return
    if statement.transaction_word:
        raise StatementNotAllowed(
            "each statement is a transaction of its own here, so "
            f"{statement.keyword.upper()} has nothing to act on; leave it out"
        )
    _check_copy(statement)
    bond = statement.bound_to_session or statement.bound_to_transaction
    if bond is not None:
        raise NeedsSession(bond)
    _check_options(query, profile)
    if statement.must_be_alone and "role" in plan.flight:
        raise NeedsBareFlight(
            f"{statement.keyword.upper()} can't run in a transaction block, so session.role can't "
            "travel with it, and it would run as the login"
        )


def _check_copy(statement: Statement) -> None:
    if statement.is_copy:
        raise StatementNotAllowed(
            "COPY can't move data through this endpoint; stream the rows of a SELECT from "
            "/v1/stream, or load a table by /v1/copy/{table}"
        )


def _check_inside(statement: Statement) -> None:
    """Refuse what would end the transaction unseen, or leave something when it has ended."""
    word = statement.keyword.upper()
    if statement.transaction_word and not statement.within_transaction:
        raise StatementNotAllowed(
            f"{word} can't be sent as SQL here: isolation and read_only are given when the "
            "transaction begins, and POST to its /commit or /rollback ends it"
        )
    _check_copy(statement)
    if statement.bound_to_session is not None:
        remedy = "; SET LOCAL holds to the end of this one" if word == "SET" else ""
        raise NeedsSession(statement.bound_to_session + remedy)
    if statement.changes_reading:
        raise StatementNotAllowed(
            "this setting changes how values are read from the server; leave it alone, and "
            "convert them in the statement"
        )
    if statement.must_be_alone:
        raise NeedsBareFlight(
            f"{word} can't run in a transaction; send it to /v1/query, outside of this one"
        )


def check_single(statement: Statement) -> None:
    """Raise InvalidRequest for no statement, or several."""
    if statement.is_empty:
        raise InvalidRequest("sql holds no statement")
    if not statement.is_single:
        raise InvalidRequest("sql holds more than one statement; send one per request")


def _check_options(query: Query, profile: UpstreamProfile) -> None:
    statement = query.statement
    if statement.must_be_alone and query.has_options:
        raise NeedsBareFlight(
            f"{statement.keyword.upper()} can't run in a transaction block, and settings, role, "
            "claims, isolation, read_only and dry_run would make one; send it without them"
        )
    if query.is_protected and statement.keyword in {"call", "do"}:
        raise StatementNotAllowed(
            "CALL and DO can commit and go on outside of role, claims, isolation, read_only and "
            "dry_run; send it without them, or write it as a query"
        )
    if query.dry_run and profile.pool_mode == "statement":
        raise NeedsTransactions(
            "a dry run needs BEGIN, which PgBouncer refuses in statement pooling"
        )
