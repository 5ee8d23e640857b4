"""Certificates of the upstream and for it: authorities that change, and a client's own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.dev.postgres import EmbeddedPostgres
from proxy.dev.process import give_away, make_walkable
from proxy.errors import UpstreamAuth
from tests.fixtures.servers import find_postgres_15
from tests.fixtures.service import poll, run_client

POOL = {"size": 2, "overflow": 0, "max_age_s": 1}
HBA = """
local all all trust
host all postgres 127.0.0.1/32 trust
hostssl all app 127.0.0.1/32 cert
"""
IS_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def run_openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> Path:
    """Make an authority's key and certificate."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    run_openssl(*new, "-keyout", key, "-out", certificate, "-subj", f"/CN={name}")
    return certificate


def sign(authority: Path, name: str) -> tuple[Path, Path]:
    """Make a key, and a certificate for `name` that the authority vouches for."""
    folder = authority.parent
    key, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request)
    run_openssl(*new, "-subj", f"/CN={name}")
    extension = folder / "names"
    extension.write_text(f"subjectAltName=DNS:{name}")
    vouch = ("-CA", authority, "-CAkey", authority.with_suffix(".key"), "-CAcreateserial")
    run_openssl("x509", "-req", "-in", request, *vouch, "-out", certificate, "-extfile", extension)
    for path in (certificate, authority):
        path.chmod(0o644)
    key.chmod(0o600)
    return key, certificate


@pytest.fixture(scope="module")
def tls(home: Path) -> Iterator[SimpleNamespace]:
    """Postgres 15 that lets `app` in by certificate alone; the embedded one can't do TLS."""
    folder = make_walkable(home / "upstream-tls")
    authority, stranger = make_authority(folder, "authority"), make_authority(folder, "stranger")
    key, certificate = sign(authority, "localhost")
    client_key, client_certificate = sign(authority, "app")
    give_away(key)
    hba = folder / "hba.conf"
    hba.write_text(HBA)
    hba.chmod(0o644)
    bin_dir = find_postgres_15()
    with EmbeddedPostgres(folder, bin_dir=bin_dir):
        pass  # its sample data are loaded without TLS
    options = {
        "ssl": "on",
        "ssl_cert_file": str(certificate),
        "ssl_key_file": str(key),
        "ssl_ca_file": str(authority),
        "hba_file": str(hba),
    }
    with EmbeddedPostgres(folder, bin_dir=bin_dir, options=options) as server:
        dsn = f"postgresql://app@localhost:{server.port}/app"
        mine = f"{dsn}?sslcert={client_certificate}&sslkey={client_key}"
        yield SimpleNamespace(dsn=dsn, mine=mine, authority=authority, stranger=stranger)


async def test_certificate_of_our_own_logs_in(tls):
    async with run_client(tls.mine, upstream={"tls_ca_file": str(tls.authority)}) as client:
        assert await client.value(IS_TLS) is True


async def test_without_it_nobody_gets_in(tls):
    with pytest.raises(UpstreamAuth, match="requires a valid client certificate"):
        async with run_client(tls.dsn, upstream={"tls_ca_file": str(tls.authority)}):
            pass


async def test_changed_authorities_hold_for_new_connections(tls, tmp_path):
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(tls.authority.read_bytes())
    settings = {"tls_ca_file": str(trusted)}
    async with run_client(tls.mine, upstream=settings, pool=POOL) as client:
        assert await client.value("select 1") == 1
        trusted.write_bytes(tls.stranger.read_bytes())
        await wait_for(client, 502)
        trusted.write_bytes(tls.stranger.read_bytes() + tls.authority.read_bytes())
        await wait_for(client, 200)


async def wait_for(client, status):
    async def is_answered():
        return (await client.query("select 1")).status == status

    await poll(is_answered, f"the answer is never {status}")
