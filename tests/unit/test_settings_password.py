"""Which password belongs to which address."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from proxy.settings import Settings

PLAIN = "postgresql://app@host/database"
FILE, COMMAND = Path("/secrets/password"), ("/bin/print", "token")


@pytest.mark.parametrize(
    "dsn", ["postgresql://app:hunter2@host/database", f"{PLAIN}?password=hunter2"]
)
@pytest.mark.parametrize("source", [{"password_file": FILE}, {"password_command": COMMAND}])
def test_password_in_the_address_and_outside_of_it_is_refused(dsn, source):
    with pytest.raises(ValidationError, match=f"upstream.{next(iter(source))} is set") as refused:
        Settings(upstream={"dsn": dsn, **source})
    assert "hunter2" not in str(refused.value)


def test_file_and_program_at_once_are_refused():
    with pytest.raises(ValidationError, match="keep one"):
        Settings(upstream={"dsn": PLAIN, "password_file": FILE, "password_command": COMMAND})


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://app@elsewhere:5433/database", (FILE, ())),
        ("postgresql://elsewhere/database?user=app", (FILE, ())),
        ("postgresql://other@elsewhere/database", (None, ())),
        ("postgresql://app:hunter2@elsewhere/database", (None, ())),
    ],
)
def test_session_dsn_has_the_password_of_the_same_login(dsn, expected):
    settings = Settings(upstream={"dsn": PLAIN, "password_file": FILE})
    copied = settings.for_session(SecretStr(dsn)).upstream
    assert (copied.password_file, copied.password_command) == expected
    assert copied.dsn.get_secret_value() == dsn


@pytest.mark.parametrize(
    ("folder", "dsn", "expected"),
    [
        (Path("/logins"), "postgresql://acme@host/database", Path("/logins/acme")),
        (Path("/logins"), "postgresql://acme:hunter2@host/database", None),
        (None, "postgresql://acme@host/database", None),
    ],
)
def test_login_of_a_client_never_has_the_password_of_another(folder, dsn, expected):
    upstream = {"dsn": PLAIN, "password_command": COMMAND, "logins": {"acme": dsn}}
    settings = Settings(
        upstream={**upstream, "logins_passwords_dir": folder}, auth={"tokens_dir": "/tokens"}
    )
    copied = settings.for_login("acme").upstream
    assert (copied.password_file, copied.password_command) == (expected, ())


def test_console_never_has_the_password_of_the_upstream():
    settings = Settings(upstream={"dsn": PLAIN, "password_file": FILE})
    copied = settings.with_upstream("postgresql://app@host/pgbouncer").upstream
    assert (copied.password_file, copied.password_command) == (None, ())
