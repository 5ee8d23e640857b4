"""SET commands as settings."""

import pytest

from proxy.sql.set_command import parse_set


@pytest.mark.parametrize(
    ("sql", "setting"),
    [
        ("SET TIME ZONE 'Europe/Vienna'", ("TimeZone", "Europe/Vienna")),
        ("set session work_mem = '64MB';", ("work_mem", "64MB")),
        ("set session time zone utc", ("TimeZone", "utc")),
        ('SET search_path TO a, "B" -- both', ("search_path", 'a, "B"')),
        ("set app.tenant = 'o''b'", ("app.tenant", "o'b")),
        ("set statement_timeout = -1", ("statement_timeout", "-1")),
        ("set jit=off", ("jit", "off")),
    ],
)
def test_a_set_is_read_as_a_setting(sql, setting):
    assert parse_set(sql) == setting


@pytest.mark.parametrize(
    "sql",
    [
        "set local x = 1",
        "set x to default",
        "set time zone local",
        "set time zone interval '1 hour'",
        "set role app",
        "set x",
        "set x =",
        "set x = -",
        "set x = E'\\n'",
        "set = 1",
        "set",
        "select 1",
        "",
    ],
)
def test_everything_else_is_no_setting(sql):
    assert parse_set(sql) is None
