"""Which settings would let a client through, or seem to keep it in, and are refused."""

import pytest
from pydantic import ValidationError

from proxy.settings import Settings

DSN = "postgresql://user:hunter2@host/database"
ROLES = [{"role": "app_ro"}, {"allowed_roles": ["app_ro"]}, {"allow_claims": True}]


def find_mistake(**sections) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**sections)
    (error,) = caught.value.errors()
    assert "hunter2" not in error["msg"]
    return error["msg"]


@pytest.mark.parametrize("session", ROLES, ids=lambda session: next(iter(session)))
def test_raw_sql_with_what_looks_like_a_boundary_is_refused(session):
    message = find_mistake(session=session)
    assert f"session.{next(iter(session))} keeps nobody in" in message
    for remedy in ("sql.mode = named", "upstream.logins", "session.roles_are_no_boundary = true"):
        assert remedy in message


@pytest.mark.parametrize("session", ROLES, ids=lambda session: next(iter(session)))
def test_it_is_taken_with_saved_queries_alone_or_on_purpose(session):
    Settings(session=session, sql={"mode": "named", "named_dir": "/queries"})
    Settings(session={**session, "roles_are_no_boundary": True})


def test_logins_need_clients_that_are_known():
    assert "auth.tokens_dir" in find_mistake(upstream={"logins": {"acme": DSN}})
    Settings(upstream={"logins": {"acme": DSN}}, auth={"tokens_dir": "/tokens"})


def test_the_address_of_a_login_is_one():
    assert "is not a URL" in find_mistake(
        upstream={"logins": {"acme": "host=h password=hunter2"}}, auth={"tokens_dir": "/tokens"}
    )


def test_an_open_address_needs_tokens_or_a_guarded_network():
    assert "auth.tokens_dir" in find_mistake(http={"host": "0.0.0.0"})
    for auth in ({"tokens_dir": "/tokens"}, {"open_network": True}):
        Settings(http={"host": "0.0.0.0"}, auth=auth)


def test_a_login_has_a_pool_of_its_own_size():
    settings = Settings(
        upstream={"dsn": DSN, "logins": {"acme": DSN.replace("user", "acme")}},
        pool={"size": 20, "overflow": 10, "login_size": 3},
        auth={"tokens_dir": "/tokens"},
    )
    copied = settings.for_login("acme")
    assert (copied.pool.size, copied.pool.overflow) == (3, 0)
    assert copied.upstream.dsn.get_secret_value().startswith("postgresql://acme:")
