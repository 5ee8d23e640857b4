"""Everything once more over TLS: the login, the lane, and the cancel beside it."""

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.dev.postgres import EmbeddedPostgres
from proxy.dev.process import give_away, make_walkable
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.factory import build_engine
from proxy.engine.flight import build_flight
from proxy.engine.upstream import Upstream
from proxy.errors import DeadlineExceeded, ProxyError, UpstreamAuth
from proxy.settings import Settings
from proxy.wire.answer import Discard
from tests.fixtures.lane import MESSAGE_BYTES, Gate, poll_until, value
from tests.fixtures.servers import find_postgres_15

IS_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
LARGE = "é" * (3 * 1024 * 1024 // 2)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key, and a certificate that nobody but itself vouches for, in the name `localhost`."""
    key, certificate = folder / "server.key", folder / "server.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    certificate.chmod(0o644)
    key.chmod(0o600)
    give_away(key)
    return key, certificate


@pytest.fixture(scope="module")
def tls(home):
    """Postgres 15, since the embedded one can't do TLS."""
    folder = make_walkable(home / "tls")
    key, certificate = make_certificate(folder)
    options = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    with EmbeddedPostgres(folder, bin_dir=find_postgres_15(), options=options) as server:
        yield SimpleNamespace(port=server.port, certificate=certificate)


@pytest.fixture
async def connect(tls):
    """Open a connection from an engine of its own."""
    async with AsyncExitStack() as stack:

        async def connect(sslmode="require", host="localhost", **settings):
            mode = f"?sslmode={sslmode}" if sslmode else ""
            dsn = f"postgresql://app@{host}:{tls.port}/app{mode}"
            upstream = {"dsn": dsn, **settings}
            engine = build_engine(Settings(upstream=upstream), lambda *_: None)
            stack.push_async_callback(engine.dispose)
            connection = await UpstreamConnection.open(engine, MESSAGE_BYTES, lambda *_: None)
            stack.push_async_callback(connection.discard)
            return connection

        yield connect


async def test_lane_speaks_tls(connect):
    assert await value((await connect()).lane, IS_TLS) == "t"


async def test_large_value_travels_both_ways(connect):
    assert await value((await connect()).lane, "select $1::text", LARGE) == LARGE


async def test_paused_lane_goes_on(connect):
    lane = (await connect()).lane
    gate = Gate(lane)
    sql = b"select repeat('x', 1000) from generate_series(1, 9000)"
    future = lane.send(build_flight(sql), gate)
    await poll_until(lambda: gate.received_bytes > 0)
    gate.is_open = True
    lane.resume()
    assert (await future).tag == b"SELECT 9000\0"


async def test_driver_speaks_tls_again_after_the_lane(connect):
    connection = await connect()
    connection.lane.pause()
    connection.lane.hand_back()
    assert await connection._driver.fetchval(IS_TLS) is True


async def test_deadline_cancels_the_statement(connect):
    connection = await connect()
    with pytest.raises(DeadlineExceeded) as exceeded:
        await connection.run(build_flight(b"select pg_sleep(60)"), Discard(), Deadline.after(0.05))
    assert (exceeded.value.executed, exceeded.value.context["sqlstate"]) == ("no", "57014")
    assert await connection.settle()
    assert await value(connection.lane, "select 1") == "1"


async def test_cancel_does_not_tell_its_secret_in_the_clear(connect, monkeypatch):
    encrypted = []
    start_tls = asyncio.StreamWriter.start_tls

    async def note(writer, *args, **kwargs):
        await start_tls(writer, *args, **kwargs)
        encrypted.append(writer)

    monkeypatch.setattr(asyncio.StreamWriter, "start_tls", note)
    connection = await connect()
    with pytest.raises(DeadlineExceeded):
        await connection.run(build_flight(b"select pg_sleep(60)"), Discard(), Deadline.after(0.05))
    assert len(encrypted) == 1


async def test_right_name_is_accepted(connect, tls):
    connection = await connect(f"verify-full&sslrootcert={tls.certificate}")
    assert await value(connection.lane, IS_TLS) == "t"


async def test_wrong_name_is_refused(connect, tls):
    with pytest.raises(UpstreamAuth, match="IP address mismatch"):
        await connect(f"verify-full&sslrootcert={tls.certificate}", host="127.0.0.1")


async def test_authorities_may_stand_in_the_settings(connect, tls):
    connection = await connect("verify-full", tls_ca_file=tls.certificate)
    assert await value(connection.lane, IS_TLS) == "t"


async def test_server_that_none_of_them_vouches_for_is_refused(connect, tmp_path):
    _, stranger = make_certificate(tmp_path)
    with pytest.raises(UpstreamAuth, match=r"self.signed certificate"):
        await connect("verify-full", tls_ca_file=stranger)


async def test_authorities_are_asked_even_if_the_dsn_says_nothing(connect, tls, tmp_path):
    connection = await connect(None, tls_ca_file=tls.certificate)
    assert await value(connection.lane, IS_TLS) == "t"
    _, stranger = make_certificate(tmp_path)
    with pytest.raises(UpstreamAuth, match=r"self.signed certificate"):
        await connect(None, tls_ca_file=stranger)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
async def test_a_mode_that_would_not_ask_the_authorities_is_refused(connect, tls, mode):
    with pytest.raises(ProxyError, match="take sslmode out of it"):
        await connect(mode, tls_ca_file=tls.certificate)


@pytest.mark.parametrize(
    ("sslmode", "is_encrypted", "is_verified"),
    [("disable", False, False), ("require", True, False), ("verify-full", True, True)],
)
async def test_the_doctor_sees_what_the_tls_is_worth(tls, sslmode, is_encrypted, is_verified):
    dsn = f"postgresql://app@localhost:{tls.port}/app?sslmode={sslmode}"
    ca = {"tls_ca_file": tls.certificate} if is_verified else {}
    upstream = Upstream(Settings(upstream={"dsn": dsn, **ca}), lambda *_: None)
    await upstream.start()
    try:
        facts = upstream.connected.facts
    finally:
        await upstream.close()
    assert (facts.is_local, facts.is_encrypted, facts.is_verified) == (
        True,
        is_encrypted,
        is_verified,
    )
