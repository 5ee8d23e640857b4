"""All checks together: what is wrong with an upstream, and with the settings."""

from collections.abc import Iterator

from proxy.doctor.arithmetic import check_arithmetic
from proxy.doctor.check import OF_LOGIN, OF_UPSTREAM, Case, check_network, check_roles
from proxy.doctor.facts import Facts, Unexamined
from proxy.doctor.finding import Finding
from proxy.settings import Settings


def diagnose(
    settings: Settings, facts: Facts | Unexamined, *, is_client: bool
) -> tuple[Finding, ...]:
    """List what is wrong, the worst first; for a client's login, only what may differ there."""
    found = [] if is_client else list(diagnose_settings(settings))
    found += diagnose_upstream(settings, facts, is_client=is_client)
    return tuple(sorted(found, key=lambda finding: -finding.severity))


def diagnose_settings(settings: Settings) -> Iterator[Finding]:
    """List what is wrong whatever the upstream is."""
    yield from check_network(settings)
    yield from check_roles(settings)


def diagnose_upstream(
    settings: Settings, facts: Facts | Unexamined, *, is_client: bool, replicas: int = 1
) -> Iterator[Finding]:
    """List what is wrong with the upstream, or at it because of the settings."""
    if isinstance(facts, Unexamined):
        yield Finding("unexamined", facts.reason)
        return
    case = Case(settings, facts, replicas)
    for check in OF_LOGIN if is_client else (*OF_LOGIN, *OF_UPSTREAM, check_arithmetic):
        yield from check(case)
