"""Secrets are planted everywhere, and come out nowhere but to whom they belong."""

import asyncio
import signal
import sys

import aiohttp
import pytest

from tests.fixtures.issuer import AUDIENCE, issue, write_keys
from tests.fixtures.load import open_table
from tests.fixtures.logins import write_tokens
from tests.fixtures.program import run_program
from tests.fixtures.service import OPERATOR

PASSWORD, OTHER_PASSWORD = "planted-password-1", "planted-password-2"
TOKEN, WRONG_TOKEN = "planted-token-0123456", "planted-token-6543210"
CLAIM, PARAM, ROW, TEXT = "planted-claim", "planted-param", "planted-row", "planted-text"
PLANTED = (PASSWORD, OTHER_PASSWORD, TOKEN, WRONG_TOKEN, CLAIM, PARAM, ROW, TEXT, OPERATOR)
FAILURES = (  # statements with text and a parameter, which fail in many ways
    f"select '{TEXT}', $1::int",
    f"select '{TEXT}', $1 from nothing_of_the_kind",
    f"selec '{TEXT}', $1",
    f"select '{TEXT}', $1 / 0",
    f"select '{TEXT}', $1; select 2",
    f"do $$ begin raise exception '{TEXT}'; end $$",
    f"select pg_sleep(5), '{TEXT}', $1",
    f"vacuum {TEXT}",
    f"set {TEXT.replace('-', '_')} = '{TEXT}'",
)


def plant(dsn: str, password: str) -> str:
    return dsn.replace("@", f":{password}@", 1)


@pytest.fixture
def flags(upstream, tmp_path):
    """The service's settings, with secrets in all that can hold one."""
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    write_tokens(tokens, {"guest": TOKEN})
    keys = write_keys(tmp_path / "keys.json")
    console = plant(upstream.console_dsn or "", OTHER_PASSWORD)
    return (
        *("--upstream.dsn", plant(upstream.dsn, PASSWORD), "--auth.tokens_dir", str(tokens)),
        *("--auth.jwt_keys_file", str(keys), "--auth.jwt_audience", AUDIENCE),
        *("--session.allow_claims", "true", "--session.roles_are_no_boundary", "true"),
        *("--auth.clients", '{"operator": {"scopes": ["stats"]}}'),
        *("--log.level", "debug", *(["--upstream.console_dsn", console] if console else [])),
    )


async def fail_in_every_way(session: aiohttp.ClientSession, url: str, table: str) -> str:
    """Send what fails as a client and as strangers; returns all that was answered."""
    signed = [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"Bearer {issue(tenant=CLAIM)}"},
        {"Authorization": f"Bearer {WRONG_TOKEN}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {issue(aud=CLAIM)}"},
    ]
    answers = []
    for headers in signed:
        for sql in (*FAILURES, f"insert into {table} values ($1)"):
            body = {"sql": sql, "params": [PARAM], "timeout_ms": 50}
            for path in ("/v1/query", "/v1/stream", "/v1/describe", f"/v1/named/{TEXT}"):
                async with session.post(url + path, json=body, headers=headers) as response:
                    answers.append(await response.text())
            batch = {"statements": [{"sql": sql, "params": [PARAM]}], "mode": "separate"}
            async with session.post(f"{url}/v1/batch", json=batch, headers=headers) as response:
                answers.append(await response.text())
        given = {**headers, "Content-Type": "text/csv"}
        path = f"{url}/v1/copy/{table}?columns=word&null={PARAM}"
        async with session.post(path, data=f"{ROW}\n{ROW}\n", headers=given) as response:
            answers.append(await response.text())
    return "".join(answers)


async def test_no_secret_is_logged_counted_or_told_to_others(upstream, flags):
    columns = f"word text primary key check (word <> '{PARAM}')"
    async with open_table(upstream, columns) as table, aiohttp.ClientSession() as session:
        async with run_program(*flags) as program:
            answered = await fail_in_every_way(session, program.url, table)
            headers = {"Authorization": f"Bearer {OPERATOR}"}
            async with session.get(f"{program.operations_url}/stats", headers=headers) as response:
                assert response.status == 200
                stats = await response.text()
            program.process.send_signal(signal.SIGTERM)
            assert await program.wait() == 0
        log = "\n".join(program.lines)
    assert log.count('"msg":"request"') > len(FAILURES)
    assert [secret for secret in PLANTED if secret in log] == []
    assert [secret for secret in PLANTED if secret in stats] == []
    told = (PASSWORD, OTHER_PASSWORD, TOKEN, WRONG_TOKEN, CLAIM, ROW, OPERATOR)
    assert [secret for secret in told if secret in answered] == []


@pytest.mark.parametrize("command", ["config", "doctor"])
async def test_no_secret_is_printed(flags, command):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", command, *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert output
    assert [secret for secret in PLANTED if secret in output.decode()] == []
