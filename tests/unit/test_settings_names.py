"""Which names of settings are well-formed, and which a request may set."""

import pytest

from proxy.sql.setting import OUR_SETTINGS, is_allowed, is_name


@pytest.mark.parametrize(
    "name", ["work_mem", "TimeZone", "app.tenant", "request.jwt.claims", "a$1"]
)
def test_names_as_postgres_takes_them(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a;b", "1a", "a.", ".a", "a..b", "a\n", "\u212aa"])
def test_everything_else_is_no_name(name):
    assert not is_name(name)
    assert not is_allowed(name, ["*"])


def test_pattern_matches_in_any_letter_case():
    assert is_allowed("timezone", ["TimeZone"])
    assert is_allowed("App.Tenant", ["app.*"])


def test_name_without_a_matching_pattern_is_not_allowed():
    assert not is_allowed("application", ["app.*", "work_mem"])
    assert not is_allowed("work_mem", [])


@pytest.mark.parametrize(
    "name",
    [*OUR_SETTINGS, "DateStyle", "role", "SESSION_AUTHORIZATION", "transaction_read_only"],
)
def test_closed_settings_match_no_pattern(name):
    assert not is_allowed(name, ["*", name])
