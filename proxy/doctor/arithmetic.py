"""Whether the connections that may be opened fit into what PgBouncer and Postgres have."""

from proxy.doctor.check import Case, Found
from proxy.doctor.finding import Finding


def check_arithmetic(case: Case) -> Found:
    """All replicas together open more than there is."""
    if case.facts.kind == "postgres":
        yield from _check_postgres(case, _count_own(case) + _count_listeners(case), "")
        return
    yield from _check_clients(case)
    yield from _check_pool(case)
    pool = _find_pool(case) or 0
    yield from _check_postgres(case, _count_listeners(case), "PgBouncer's pool", pool)


def _count_own(case: Case) -> int:
    """Count what the pools of one service open."""
    pool, logins = case.settings.pool, case.settings.upstream.logins
    return pool.size + pool.overflow + len(logins) * pool.login_size


def _count_listeners(case: Case) -> int:
    """Count what its listeners open past PgBouncer, or on Postgres itself."""
    upstream = case.settings.upstream
    is_direct = upstream.session_dsn is not None or case.facts.kind == "postgres"
    return case.settings.limits.listeners if is_direct else 0


def _count_behind(case: Case) -> int:
    """Count what its listeners open at PgBouncer, where it lets them."""
    is_here = case.facts.is_session_proven and case.settings.upstream.session_dsn is None
    return case.settings.limits.listeners if is_here else 0


def _check_clients(case: Case) -> Found:
    facts = case.facts
    needed = (_count_own(case) + _count_behind(case)) * case.replicas
    for name, limit in (
        ("max_client_conn", _read(facts.config.get("max_client_conn"))),
        ("max_db_client_connections", _read(facts.database.get("max_client_connections"))),
    ):
        if limit and needed > limit:
            yield Finding(
                "clients_over_limit",
                f"{_describe(case, needed)} may be opened; {name} is {limit}.",
            )


def _check_pool(case: Case) -> Found:
    limit = _find_pool(case)
    if limit is None:
        return
    pool = case.settings.pool
    needed = (pool.size + pool.overflow + _count_behind(case)) * case.replicas
    if needed <= limit:
        return
    is_session = case.facts.pool_mode == "session"
    yield Finding(
        "session_pool_over_limit" if is_session else "shared_pool_over_limit",
        f"{_describe(case, needed)} may be opened; PgBouncer has {limit} server connections for "
        "them.",
    )


def _find_pool(case: Case) -> int | None:
    """Find how many server connections our PgBouncer pool may have; None if nobody tells."""
    config, database = case.facts.config, case.facts.database
    size = _read(database.get("pool_size")) or _read(config.get("default_pool_size"))
    most = _read(database.get("max_connections")) or _read(config.get("max_db_connections"))
    return min(filter(None, (size, most)), default=None)


def _check_postgres(case: Case, each: int, also: str, more: int = 0) -> Found:
    """Compare `each` of every replica, and `more` by whatever `also` names, with the server."""
    free, needed = case.facts.free_connections, each * case.replicas + more
    if needed > free:
        beside = f" ({also} has {more} of them)" if more else ""
        yield Finding(
            "postgres_over_limit",
            f"{_describe(case, needed)} may be opened{beside}; Postgres has {free} for ordinary "
            "logins.",
        )


def _describe(case: Case, needed: int) -> str:
    replicas = "1 replica" if case.replicas == 1 else f"{case.replicas} replicas"
    return f"{needed} connections of {replicas}"


def _read(text: str | None) -> int | None:
    """Read a limit; None where there is none."""
    return int(text) if text and text.isdecimal() and int(text) else None
