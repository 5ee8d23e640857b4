"""The command `doctor`: reach the upstream as every login, and report what is wrong."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from proxy.doctor.diagnosis import diagnose_settings, diagnose_upstream
from proxy.doctor.finding import Finding, Severity
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import PoolTimeout, ProxyError, UpstreamAuth, UpstreamUnavailable
from proxy.settings import Settings
from proxy.settings_session import SessionSettings
from proxy.settings_source import Loaded, SettingsError
from proxy.stats.counters import Counters

UNREACHED = 3
CLOSE_S = 5.0


@dataclass(slots=True)
class Report:
    """What was found, each with the client of `upstream.logins` that it is about."""

    found: list[tuple[str | None, Finding]] = field(default_factory=list)
    upstream: str | None = None  # what it is, as a sentence
    problem: str | None = None  # why it couldn't be reached

    def add(self, client: str | None, findings: Iterable[Finding]) -> None:
        """Take findings up."""
        self.found += [(client, finding) for finding in findings]

    @property
    def exit_code(self) -> int:
        """0 where nothing is worse than an info, 1 for a warning, 2 if critical, 3 unreached."""
        if self.problem is not None:
            return UNREACHED
        return max((finding.severity for _, finding in self.found), default=Severity.INFO)

    def write_json(self) -> str:
        """Write `{upstream, problem, findings: [{client, code, severity, evidence, remedy}]}`."""
        findings = [{"client": client, **finding.show()} for client, finding in self.found]
        document = {"upstream": self.upstream, "problem": self.problem, "findings": findings}
        return json.dumps(document, indent=2, ensure_ascii=False)

    def write_text(self) -> str:
        """Write a paragraph for each finding."""
        return "\n\n".join(self._list_paragraphs())

    def _list_paragraphs(self) -> Iterator[str]:
        if self.upstream is not None:
            yield self.upstream
        for client, finding in self.found:
            shown = finding.show()
            whose = f" (client {client})" if client else ""
            yield (
                f"{shown['severity']}: {finding.code}{whose}\n"
                f"  {finding.evidence}\n  {shown['remedy']}"
            )
        if self.problem is not None:
            yield f"The upstream can't be reached: {self.problem}"
        elif not self.found:
            yield "Nothing is wrong."


def run_doctor(loaded: Loaded, replicas: int, *, is_json: bool, say: Callable[[str], None]) -> int:
    """Print the report and return the exit code.

    Raises:
        SettingsError: there is no upstream to examine.
    """
    if loaded.settings.upstream.dsn is None:
        raise SettingsError(["doctor needs upstream.dsn, the address of what it shall examine"])
    logging.getLogger("pgsidecar").addHandler(logging.NullHandler())  # the report says it
    report = asyncio.run(examine_all(loaded.settings, replicas))
    say(report.write_json() if is_json else report.write_text())
    return report.exit_code


async def examine_all(settings: Settings, replicas: int) -> Report:
    """Examine the settings, the upstream, and every login of `upstream.logins`."""
    report = Report()
    report.add(None, diagnose_settings(settings))
    try:
        await _examine(report, settings, replicas)
        for client in settings.upstream.logins:
            await _examine(report, settings.for_login(client), replicas, client)
    except ProxyError as problem:
        report.problem = problem.detail
    report.found.sort(key=lambda pair: -pair[1].severity)
    return report


async def _examine(
    report: Report, settings: Settings, replicas: int, client: str | None = None
) -> None:
    """Examine one login; where the start is refused, what can be seen without the session.

    Raises:
        UpstreamUnavailable, UpstreamAuth, PoolTimeout: it can't be reached.
    """
    bare = settings.model_copy(update={"session": SessionSettings()})
    for tried in (settings, bare):
        try:
            connected = await _reach(tried)
        except (UpstreamUnavailable, UpstreamAuth, PoolTimeout):
            raise
        except ProxyError as refusal:
            if tried is settings:
                report.add(client, [Finding("start_refused", f"{refusal.detail}.")])
            continue
        is_client = client is not None
        report.upstream = report.upstream or connected.profile.evidence
        report.add(
            client,
            diagnose_upstream(settings, connected.facts, is_client=is_client, replicas=replicas),
        )
        return


async def _reach(settings: Settings) -> Connected:
    """Start as the service does, and close again."""
    upstream = Upstream(settings, Counters().count)
    try:
        await upstream.start()
        return upstream.connected
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await upstream.close()
