"""Where each part of the configured session travels, by what the upstream is."""

from dataclasses import replace

import pytest

from proxy.engine.hooks import SessionPlan, plan_session
from proxy.engine.profile import UpstreamProfile
from proxy.errors import ProxyError
from proxy.settings_session import SessionSettings

POSTGRES = UpstreamProfile(
    kind="postgres",
    pool_mode=None,
    pool_mode_evidence=None,
    is_session_proven=True,
    pgbouncer_version=None,
    tracks_prepared=None,
    server_version="18.0",
    server_version_num=180000,
    is_primary=True,
    evidence="",
)
POOL = replace(
    POSTGRES,
    kind="pgbouncer",
    pool_mode="transaction",
    pool_mode_evidence="probe",
    is_session_proven=False,
)
STATEMENT_POOL = replace(POOL, pool_mode="statement")
SESSION_BY_PROBE = replace(POOL, pool_mode="session")
SESSION_BY_CONSOLE = replace(SESSION_BY_PROBE, pool_mode_evidence="console", is_session_proven=True)
OURS = [POSTGRES, SESSION_BY_CONSOLE]
SHARED = [POOL, STATEMENT_POOL, SESSION_BY_PROBE]
ALL = [*OURS, *SHARED]


def plan(profile, **session):
    return plan_session(SessionSettings(**session), profile)


@pytest.mark.parametrize("profile", ALL)
def test_nothing_is_delivered_by_nothing(profile):
    assert plan(profile) == SessionPlan({}, {}, (), {})
    assert plan(profile).delivery == {}


@pytest.mark.parametrize("profile", ALL)
def test_the_time_zone_goes_with_the_startup(profile):
    found = plan(profile, time_zone="UTC")
    assert found == SessionPlan({"TimeZone": "UTC"}, {}, (), {})
    assert found.delivery == {"TimeZone": "startup"}


@pytest.mark.parametrize("profile", OURS)
def test_a_session_of_our_own_is_set_when_it_begins(profile):
    hooks = ("set app.y = 2", "select 1")
    found = plan(profile, settings={"app.x": "1"}, role="clerk", hooks=hooks)
    assert found == SessionPlan({}, {"app.x": "1", "role": "clerk"}, hooks, {})
    assert found.delivery == dict.fromkeys(("app.x", "role", "app.y"), "connect hook")


@pytest.mark.parametrize("profile", SHARED)
def test_behind_a_shared_pool_settings_travel_with_each_statement(profile):
    hooks = ("set app.y = 2",)
    found = plan(profile, settings={"app.x": "1"}, role="clerk", hooks=hooks)
    assert found == SessionPlan({}, {}, (), {"app.x": "1", "app.y": "2", "role": "clerk"})
    assert found.delivery == dict.fromkeys(("app.x", "app.y", "role"), "flight")


@pytest.mark.parametrize("profile", SHARED)
def test_what_pgbouncer_tracks_is_set_once(profile):
    found = plan(profile, hooks=("set time zone 'UTC'", "set Application_Name = 'a'"))
    assert found == SessionPlan({}, {"TimeZone": "UTC", "Application_Name": "a"}, (), {})


@pytest.mark.parametrize("profile", ALL)
def test_the_role_comes_last_since_it_may_not_be_allowed_to_set_the_others(profile):
    found = plan(profile, settings={"app.x": "1"}, role="clerk")
    assert list({**found.connect, **found.flight}) == ["app.x", "role"]


@pytest.mark.parametrize("profile", SHARED)
def test_a_hook_outdoes_the_setting_of_the_same_name(profile):
    """As it does where hooks run after the settings."""
    found = plan(profile, settings={"app.x": "1"}, hooks=("set app.x = 2",))
    assert found.flight == {"app.x": "2"}


@pytest.mark.parametrize("profile", SHARED)
@pytest.mark.parametrize("hook", ["load 'x'", "set local app.x = 1", "set role clerk", "listen a"])
def test_a_hook_that_is_no_setting_is_refused_behind_a_shared_pool(profile, hook):
    with pytest.raises(ProxyError, match="ALTER ROLE … SET") as refusal:
        plan(profile, hooks=(hook,))
    assert f"`{hook}`" in refusal.value.detail


@pytest.mark.parametrize("profile", SHARED)
@pytest.mark.parametrize("name", ["read_only", "isolation", "deferrable"])
def test_what_a_transaction_reads_as_it_begins_is_refused_behind_a_shared_pool(profile, name):
    with pytest.raises(ProxyError, match="whose transaction has begun by then; have an admin"):
        plan(profile, settings={f"default_transaction_{name}": "on"})


@pytest.mark.parametrize("profile", ALL)
def test_a_hook_may_not_set_what_is_ours(profile):
    with pytest.raises(ProxyError, match=r"session\.hooks sets Client_Encoding.*; remove it"):
        plan(profile, hooks=("set Client_Encoding = 'LATIN1'",))
