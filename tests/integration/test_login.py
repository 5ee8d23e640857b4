"""What is asked at login holds, or the service doesn't start."""

import pytest

from proxy.errors import ProxyError, UpstreamAuth
from tests.fixtures.detection import detect, run_bouncer
from tests.fixtures.servers import Servers, Upstream

DROPPED = "search_path,statement_timeout,role,app.tenant,options"


@pytest.mark.matrix
async def test_what_is_asked_at_login_and_tracked_holds(upstream: Upstream):
    dsn = f"{upstream.dsn}?TimeZone=Asia/Tokyo&DateStyle=German&sslmode=prefer"
    assert await detect(dsn, application_name="pgsidecär")


@pytest.mark.parametrize(
    "asked", ["search_path=app", "statement_timeout=300000", "role=app", "app.tenant=7"]
)
@pytest.mark.parametrize("version", ["1.18", "1.24"])
async def test_a_dropped_setting_is_refused_with_the_remedy(servers: Servers, version, asked):
    name = asked.partition("=")[0]
    option = "options=-c%20" + asked.replace("=", "%3D")
    with run_bouncer(servers, version=version, ignore_startup_parameters=DROPPED) as bouncer:
        for query in (asked, option):
            with pytest.raises(ProxyError, match=f"{name} is set .*ignore_startup_parameters"):
                await detect(f"{bouncer.dsn}?{query}")


async def test_the_old_pgbouncer_drops_even_a_tracked_setting_in_options(servers: Servers):
    dropping = {"ignore_startup_parameters": "options"}
    with (
        run_bouncer(servers, version="1.18", **dropping) as bouncer,
        pytest.raises(ProxyError, match="timezone is set at login"),
    ):
        await detect(f"{bouncer.dsn}?options=-c%20TimeZone%3DAsia/Tokyo")


async def test_a_setting_that_pgbouncer_refuses_at_login_is_a_refusal(servers: Servers):
    with pytest.raises(UpstreamAuth, match="unsupported startup parameter"):
        await detect(servers.upstream("transaction").dsn + "?search_path=app")


@pytest.mark.parametrize(
    "asked", ["statement_timeout=300000", "work_mem=9999", "jit=no", "role=app", "app.tenant=7"]
)
async def test_postgres_may_write_a_value_in_another_way(postgres, asked):
    query = f"{asked}&port={postgres.port}&options=-c%20log_connections%3Doff"
    assert await detect(f"{postgres.superuser_dsn}?{query}")


async def test_a_name_with_our_host_added_is_no_loss(servers: Servers):
    with run_bouncer(servers, application_name_add_host="1") as bouncer:
        assert await detect(bouncer.dsn)
