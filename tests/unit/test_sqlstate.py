"""From SQLSTATE to HTTP status, condition name and the answer to "may I send it again?"."""

import pytest

from proxy.engine.sqlstate import connect_error, is_password_refused, lost_error, statement_error
from proxy.errors import UpstreamAuth, UpstreamUnavailable
from proxy.wire.lane import ConnectionLost
from proxy.wire.messages import ServerMessage

FULL = ServerMessage(
    *("ERROR", "23505", "duplicate key", "Key (id)=(1)", "try another", 15),
    *("public", "users", "id", "int4", "users_pkey", "somewhere"),
)


def reject(sqlstate, text="no", *, in_prefix=False, has_untyped=False, hint=None):
    message = ServerMessage("ERROR", sqlstate, text, hint=hint, position=3)
    return statement_error(message, executed="no", in_prefix=in_prefix, has_untyped=has_untyped)


def lose(text, severity="FATAL", sqlstate="08P01"):
    return lost_error(ConnectionLost(ServerMessage(severity, sqlstate, text)))


@pytest.mark.parametrize(
    ("sqlstate", "status", "code", "retryable"),
    [
        ("22P02", 400, "invalid_text_representation", False),
        ("22012", 400, "division_by_zero", False),
        ("42601", 400, "syntax_error", False),
        ("42P01", 400, "undefined_table", False),
        ("08P01", 400, "protocol_violation", False),
        ("P0001", 400, "raise_exception", False),
        ("54001", 400, "statement_too_complex", False),
        ("0A000", 400, "feature_not_supported", False),
        ("25001", 400, "active_sql_transaction", False),
        ("2D000", 400, "invalid_transaction_termination", False),
        ("3D000", 400, "invalid_catalog_name", False),
        ("3F000", 400, "invalid_schema_name", False),
        ("23505", 409, "unique_violation", False),
        ("23P01", 409, "exclusion_violation", False),
        ("23503", 409, "foreign_key_violation", False),
        ("23502", 422, "not_null_violation", False),
        ("23514", 422, "check_violation", False),
        ("23000", 422, "integrity_constraint_violation", False),
        ("44000", 422, "with_check_option_violation", False),
        ("40001", 409, "serialization_failure", True),
        ("40P01", 409, "deadlock_detected", True),
        ("55P03", 409, "lock_not_available", True),
        ("55000", 409, "object_not_in_prerequisite_state", False),
        ("25P02", 409, "in_failed_sql_transaction", False),
        ("25006", 403, "read_only_sql_transaction", False),
        ("42501", 403, "insufficient_privilege", False),
        ("53100", 507, "disk_full", False),
        ("53200", 503, "out_of_memory", True),
        ("57014", 504, "statement_timeout", False),
        ("XX000", 500, "internal_error", False),
        ("58030", 500, "io_error", False),
        ("40000", 500, "transaction_rollback", False),
        ("HV000", 500, "fdw_error", False),
    ],
)
def test_status_and_name_follow_the_sqlstate(sqlstate, status, code, retryable):
    error = reject(sqlstate)
    assert (error.status, error.code, error.retryable) == (status, code, retryable)


@pytest.mark.parametrize("sqlstate", ["57P01", "08006", "53300", "28P01"])
def test_connection_trouble_that_a_statement_raises_is_the_statements(sqlstate):
    error = reject(sqlstate)
    assert (error.status, error.retryable) == (400, False)


@pytest.mark.parametrize(("sqlstate", "code"), [("UU123", "sqlstate_uu123"), ("", "sqlstate_")])
def test_state_without_a_name_is_told_by_its_letters(sqlstate, code):
    error = reject(sqlstate)
    assert (error.status, error.code) == (500, code)


def test_cancel_by_somebody_else_is_no_timeout():
    error = reject("57014", "canceling statement due to user request")
    assert (error.status, error.code) == (499, "query_canceled")


def test_error_that_may_have_taken_effect_is_never_retryable():
    message = ServerMessage("ERROR", "40001", "could not serialize access")
    error = statement_error(message, executed="unknown", in_prefix=False, has_untyped=False)
    assert not error.retryable


def test_server_fields_are_passed_on():
    error = statement_error(FULL, executed="no", in_prefix=False, has_untyped=False)
    assert error.detail == "duplicate key"
    assert error.context == {
        "sqlstate": "23505",
        "severity": "ERROR",
        "pg_detail": "Key (id)=(1)",
        "hint": "try another",
        "position": 15,
        "schema": "public",
        "table": "users",
        "column": "id",
        "constraint": "users_pkey",
    }


def test_error_in_the_settings_says_so_and_has_no_position():
    error = reject("22023", "no such zone", in_prefix=True)
    assert error.detail == "settings: no such zone"
    assert "position" not in error.context


@pytest.mark.parametrize("sqlstate", ["42725", "42P08", "42P18", "42804"])
def test_untyped_parameter_is_answered_with_the_remedy(sqlstate):
    assert "`types`" in reject(sqlstate, hint="the server's", has_untyped=True).context["hint"]


@pytest.mark.parametrize("sqlstate", ["25001", "2D000"])
def test_statement_that_wants_no_transaction_block_gets_the_remedy(sqlstate):
    assert "without them" in reject(sqlstate).context["hint"]


def test_statement_whose_types_are_all_said_keeps_the_servers_hint():
    assert reject("42725", hint="the server's").context["hint"] == "the server's"


@pytest.mark.parametrize(
    "text",
    [
        "query_wait_timeout",
        "server login has been failing, try again later (server_login_retry)",
        "server login has been failing, cached error: connect failed (server_login_retry)",
        "no more connections allowed (max_client_conn)",
        'database "app" is disabled',
        "server shutting down",
        "client_login_timeout",
        "transaction blocks not allowed in statement pooling mode",
        "prepared statement did not exist",
    ],
)
def test_statement_that_pgbouncer_never_sent_on_may_be_sent_again(text):
    error = lose(text)
    assert (error.executed, error.retryable) == ("no", True)
    assert text in error.detail


@pytest.mark.parametrize("text", ["server conn crashed?", "database removed", "query timeout"])
def test_statement_that_pgbouncer_lost_on_its_way_is_unknown(text):
    error = lose(text)
    assert (error.executed, error.retryable) == ("unknown", False)


def test_statement_whose_backend_was_terminated_is_unknown():
    error = lose("terminating connection due to administrator command", sqlstate="57P01")
    assert (error.status, error.executed, error.phase) == (503, "unknown", "execute")
    assert error.context["sqlstate"] == "57P01"


def test_connection_lost_without_a_word_is_unknown():
    error = lost_error(ConnectionLost(None))
    assert (error.status, error.executed, error.retryable) == (503, "unknown", False)


def test_error_of_the_statement_is_not_the_reason_of_the_loss():
    error = lose("query_wait_timeout", severity="ERROR")
    assert error.executed == "unknown"
    assert "query_wait_timeout" not in error.detail


@pytest.mark.parametrize(
    ("sqlstate", "text"),
    [
        ("28P01", "password authentication failed"),
        ("28000", 'role "nobody" does not exist'),
        ("3D000", 'database "nope" does not exist'),
        ("08P01", "SASL authentication failed"),
        ("08P01", "no such database: nope"),
        ("08P01", "no such user: nobody"),
        ("08P01", "not allowed"),
        ("08P01", "unsupported startup parameter: jit"),
        ("08P01", "invalid server parameter"),
    ],
)
def test_login_that_only_another_configuration_can_mend_is_refused_for_good(sqlstate, text):
    error = connect_error(sqlstate, text)
    assert isinstance(error, UpstreamAuth)
    assert (error.status, error.retryable, error.executed) == (502, False, "no")
    assert text in error.detail


@pytest.mark.parametrize(
    ("sqlstate", "text"),
    [
        ("53300", "too many connections for role"),
        ("53400", "configuration limit exceeded"),
        ("57P01", "terminating connection"),
        ("57P02", "crash shutdown"),
        ("57P03", "the database system is starting up"),
        ("08P01", "no more connections allowed (max_client_conn)"),
        ("08P01", "query_wait_timeout"),
        ("08P01", 'database "app" is disabled'),
        ("08P01", "client_login_timeout"),
        ("08P01", 'too many connections for role "app"'),
        ("08P01", "server login has been failing, try again later (server_login_retry)"),
        ("08006", "connection failure"),
        (None, "Connection refused"),
    ],
)
def test_upstream_that_is_away_or_full_may_be_tried_later(sqlstate, text):
    error = connect_error(sqlstate, text)
    assert isinstance(error, UpstreamUnavailable)
    assert (error.status, error.retryable, error.phase) == (503, True, "connect")
    assert error.retry_after_ms is not None


@pytest.mark.parametrize(
    ("sqlstate", "text", "expected"),
    [
        ("28P01", 'password authentication failed for user "app"', True),
        ("28000", 'PAM authentication failed for user "app"', True),  # AWS
        ("08P01", "SASL authentication failed", True),
        ("08P01", "password authentication failed", True),
        ("28000", "no pg_hba.conf entry for host", False),
        ("08P01", "no such user", False),
        ("3D000", 'database "authentication failed" does not exist', False),
        (None, "authentication failed", False),
    ],
)
def test_refused_password_is_told_from_other_refusals(sqlstate, text, expected):
    assert is_password_refused(sqlstate, text) is expected
