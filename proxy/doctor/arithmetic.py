"""Whether the connections that may be opened fit into what PgBouncer and Postgres have."""

from proxy.doctor.check import Case, Found
from proxy.doctor.finding import Finding


def check_arithmetic(case: Case) -> Found:
    """All replicas together may open more than there is."""
    facts, upstream = case.facts, case.settings.upstream
    pool, listeners = case.settings.pool, case.settings.limits.listeners
    own = pool.size + pool.overflow
    all_logins = own + len(upstream.logins) * pool.login_size
    is_direct = facts.kind == "postgres"
    past = listeners if is_direct or upstream.session_dsn else 0  # past PgBouncer
    through = listeners if facts.is_session_proven and not past else 0  # else it lets none
    servers = 0 if is_direct else _find_pool(case)
    if not is_direct:
        yield from _check_clients(case, (all_logins + through) * case.replicas)
        yield from _check_pool(case, (own + through) * case.replicas, servers)
    needed = (past + (all_logins if is_direct else 0)) * case.replicas + servers
    if needed > facts.free_connections:
        beside = f" ({servers} of them by PgBouncer)" if servers else ""
        rest = f"{beside}; Postgres has {facts.free_connections} for ordinary logins."
        yield Finding("postgres_over_limit", _describe(case, needed) + rest)


def _check_clients(case: Case, needed: int) -> Found:
    for name, limit in (
        ("max_client_conn", _read(case.facts.config.get("max_client_conn"))),
        ("max_db_client_connections", _read(case.facts.database.get("max_client_connections"))),
    ):
        if limit and needed > limit:
            yield Finding("clients_over_limit", f"{_describe(case, needed)}; {name} is {limit}.")


def _check_pool(case: Case, needed: int, servers: int) -> Found:
    if servers and needed > servers:
        kind = "session" if case.facts.pool_mode == "session" else "shared"
        rest = f"; PgBouncer has {servers} server connections for them."
        yield Finding(f"{kind}_pool_over_limit", _describe(case, needed) + rest)


def _find_pool(case: Case) -> int:
    """Find how many server connections our PgBouncer pool may have; 0 if nobody tells."""
    config, database = case.facts.config, case.facts.database
    size = _read(database.get("pool_size")) or _read(config.get("default_pool_size"))
    most = _read(database.get("max_connections")) or _read(config.get("max_db_connections"))
    return min(filter(None, (size, most)), default=0)


def _describe(case: Case, needed: int) -> str:
    replicas = "1 replica" if case.replicas == 1 else f"{case.replicas} replicas"
    return f"{needed} connections of {replicas} may be opened"


def _read(text: str | None) -> int | None:
    """Read a limit; None where there is none."""
    return int(text) if text and text.isdecimal() and int(text) else None
