"""Forms, bounds and rules of the settings themselves."""

import pytest
from pydantic import ValidationError

from proxy.settings import Settings

DSN = "postgresql://user:hunter2@host:5432/database"


def mistakes(**sections) -> list[str]:
    """Everything that the models say against these values."""
    with pytest.raises(ValidationError) as caught:
        Settings(**sections)
    return [error["msg"] for error in caught.value.errors()]


def dsn_mistake(dsn: str) -> str:
    (message,) = mistakes(upstream={"dsn": dsn})
    assert "hunter2" not in message
    return message


@pytest.mark.parametrize(
    "dsn",
    [
        DSN,
        "postgres://host",
        "POSTGRESQL+asyncpg://u@h/d",
        "postgresql://a:1,b:2/d?target_session_attrs=primary&sslmode=require",
        "postgresql:///d?host=/run/postgresql&user=a@b",
        "postgresql://%2Frun%2Fpostgresql/d",
        "postgresql://u:p%40ss%2F%23@h/d",
    ],
)
def test_every_form_of_a_postgres_url_is_taken(dsn):
    settings = Settings(upstream={"dsn": dsn, "console_dsn": dsn})
    assert settings.upstream.dsn.get_secret_value() == dsn


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "pg8000", "psycopg2cffi"])
def test_sync_driver_in_the_url_is_named_with_the_right_form(driver):
    message = dsn_mistake(DSN.replace("://", f"+{driver}://"))
    assert f"names the driver {driver}, not asyncpg" in message
    assert "write postgresql://user:password@host:5432/database" in message


@pytest.mark.parametrize("scheme", ["mysql", "sqlite", "mssql+pyodbc", "http"])
def test_other_database_gets_the_right_form(scheme):
    message = dsn_mistake(DSN.replace("postgresql", scheme))
    assert "is not for Postgres" in message
    assert "write postgresql://" in message


@pytest.mark.parametrize("dsn", ["host=h password=hunter2", "u:hunter2@h", "", "postgresql://"])
def test_text_that_is_no_url_gets_the_right_form(dsn):
    assert "is not a URL; write postgresql://" in dsn_mistake(dsn)


@pytest.mark.parametrize("password", ["hunter2#x", "hunter2/x"])
def test_password_that_needs_encoding_is_told_how(password):
    assert "%2F" in dsn_mistake(DSN.replace("hunter2", password))


@pytest.mark.parametrize("port", ["0", "65536", "x", "5432,b:99999"])
def test_port_that_does_not_exist_is_refused(port):
    assert "from 1 to 65535" in dsn_mistake(f"postgresql://u:hunter2@a:{port}/d")


def test_line_break_after_a_dsn_is_dropped():
    assert Settings(upstream={"dsn": f"{DSN}\n"}).upstream.dsn.get_secret_value() == DSN


def test_secrets_are_masked_wherever_settings_are_printed():
    settings = Settings(upstream={"dsn": DSN, "console_dsn": DSN})
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in shown


def test_validation_error_never_shows_values():
    with pytest.raises(ValidationError) as caught:
        Settings(upstream={"dsn": "hunter2"}, pool={"size": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_settings_and_sections_are_frozen():
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.pool = None
    with pytest.raises(ValidationError, match="frozen"):
        settings.pool.size = 3


def test_process_environment_is_never_read(monkeypatch):
    monkeypatch.setenv("POOL", '{"size": 7}')
    monkeypatch.setenv("POOL__SIZE", "7")
    assert Settings().pool.size == 20


def test_with_upstream_changes_nothing_but_the_dsn():
    settings = Settings(pool={"size": 3})
    copy = settings.with_upstream(DSN)
    assert copy.upstream.dsn.get_secret_value() == DSN
    assert copy.model_copy(update={"upstream": settings.upstream}) == settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_leave(host):
    assert Settings(http={"host": host}).http.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_open_network_is_refused_until_it_is_asked_for(host):
    (message,) = mistakes(http={"host": host})
    assert "anybody on the network could run SQL" in message
    assert Settings(http={"host": host}, auth={"open_network": True}).http.host == host


def test_unix_socket_makes_the_host_irrelevant():
    socket = "/run/pgsidecar.sock"
    assert Settings(http={"host": "0.0.0.0", "unix_socket": socket}).http.unix_socket


def test_operations_listener_may_be_open_for_probes():
    assert Settings(ops={"host": "0.0.0.0"}).ops.host == "0.0.0.0"


def test_socket_path_is_measured_in_bytes():
    assert Settings(http={"unix_socket": "/" + 53 * "ä"})
    (message,) = mistakes(http={"unix_socket": "/" + 53 * "ä" + "a"})
    assert "is longer than the 107 bytes" in message


def test_ceiling_below_the_default_deadline_is_refused():
    (message,) = mistakes(limits={"timeout_s": 10, "timeout_max_s": 9})
    assert "limits.timeout_max_s is below limits.timeout_s" in message
    assert Settings(limits={"timeout_s": 10, "timeout_max_s": 10}).limits.timeout_max_s == 10


def test_numbers_and_booleans_become_the_text_of_postgres():
    values = {"jit": False, "enable_sort": True, "work_mem": 64, "seed": 0.5, "search_path": "app"}
    assert Settings(session={"settings": values}).session.settings == {
        "jit": "off",
        "enable_sort": "on",
        "work_mem": "64",
        "seed": "0.5",
        "search_path": "app",
    }


def test_value_of_a_setting_that_is_no_scalar_is_refused():
    assert mistakes(session={"settings": {"jit": ["off"]}}) == ["Input should be a valid string"]


@pytest.mark.parametrize("name", ["DateStyle", "client_encoding", "BYTEA_OUTPUT"])
def test_settings_that_change_our_bytes_are_refused_by_name(name):
    (message,) = mistakes(session={"settings": {name: "x"}})
    assert f"has {name}, which pgsidecar sets itself" in message


def test_key_that_cannot_be_a_setting_is_refused():
    (message,) = mistakes(session={"settings": {"a b": "x"}})
    assert "cannot be a setting's name" in message


@pytest.mark.parametrize("pattern", ["DateStyle", "role", "transaction_isolation"])
def test_closed_setting_in_the_allow_list_is_refused_by_name(pattern):
    (message,) = mistakes(session={"allowed_settings": [pattern]})
    assert f"has {pattern}, which no request may ever set" in message


def test_infinite_and_undefined_times_are_out_of_bounds():
    assert len(mistakes(pool={"checkout_timeout_s": "inf", "max_age_s": "nan"})) == 2


def test_saved_queries_alone_need_their_directory():
    (message,) = mistakes(sql={"mode": "named"})
    assert "set sql.named_dir to their directory" in message
    assert Settings(sql={"mode": "named", "named_dir": "/queries"}).sql.mode == "named"
