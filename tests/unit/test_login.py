"""What a DSN asks of the session."""

import pytest

from proxy.engine.login import asked_settings, database_name
from proxy.settings import Settings


def settings(dsn: str, **session: str) -> Settings:
    return Settings(upstream={"dsn": f"postgresql://u@h{dsn}"}, session=session)


def asked(dsn: str) -> dict[str, str]:
    """What the DSN adds to what we ask for ourselves."""
    ours = asked_settings(settings("/d"))
    return dict(asked_settings(settings(dsn)).items() - ours.items())


def test_our_own_parameters_are_asked_for():
    parameters = asked_settings(settings("/d", time_zone="UTC"))
    assert parameters["application_name"] == "pgsidecar"
    assert parameters["timezone"] == "UTC"


def test_the_query_of_the_dsn_is_asked_for():
    assert asked("/d?search_path=app,public&app.x=1") == {"search_path": "app,public", "app.x": "1"}


def test_our_own_parameter_outdoes_the_dsn():
    assert asked_settings(settings("/d?TimeZone=Asia/Tokyo", time_zone="UTC"))["timezone"] == "UTC"


@pytest.mark.parametrize(
    "options",
    [
        "-c search_path=app",
        "-csearch_path=app",
        "--search-path=app",
        "  -c  search_path=app  ",
        "-c search_path=other --search_path=app",
    ],
)
def test_options_are_read_as_postgres_does(options):
    assert asked(f"/d?options={options.replace(' ', '%20')}") == {"search_path": "app"}


def test_several_options_are_all_read():
    options = "-c%20work_mem%3D9MB%20--jit%3Doff%20-c%20app.x%3D"
    assert asked(f"/d?options={options}") == {"work_mem": "9MB", "jit": "off", "app.x": ""}


def test_a_backslash_keeps_a_blank_in_an_option():
    options = r"-c%20search_path%3Da,\%20b\\c%20--jit%3Doff"
    assert asked(f"/d?options={options}") == {"search_path": r"a, b\c", "jit": "off"}


def test_a_parameter_outdoes_the_same_name_in_options():
    assert asked("/d?jit=on&options=-c%20jit%3Doff") == {"jit": "on"}


@pytest.mark.parametrize(
    ("dsn", "name"),
    [
        ("/orders", "orders"),
        ("/a%2Fb?sslmode=disable", "a/b"),
        ("?dbname=orders", "orders"),
        ("/?database=orders", "orders"),
        ("", None),
    ],
)
def test_the_databases_name_is_read_from_the_dsn(dsn, name):
    assert database_name(settings(dsn)) == name
