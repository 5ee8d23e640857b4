"""A PgBouncer of our own in front of a Postgres that asks for no password."""

import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from proxy.dev.process import (
    find_free_port,
    give_away,
    is_listening,
    place_in_reach,
    run_server,
)

PoolMode = Literal["session", "transaction", "statement"]

_DATABASES = ("app", "postgres")
_USERS = ("app", "postgres", "acme", "globex", "admin", "stats")


class LocalPgBouncer:
    """PgBouncer on a port of 127.0.0.1, while the context lasts; enter it again to restart it.

    It knows the databases `app` and `postgres`, those of `databases` (name and connection string),
    and the users `app`, `postgres`, and for tests of logins `acme` and `globex`; `admin` may do
    everything on its console, `stats` may look.
    A pool has two server connections, unless `options` say otherwise.
    """

    def __init__(
        self,
        binary: Path,
        upstream_port: int,
        pool_mode: PoolMode = "transaction",
        options: Mapping[str, str] | None = None,
        databases: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = binary
        self.port = find_free_port()
        self.pid = 0
        upstream = f"host=127.0.0.1 port={upstream_port}"
        self._databases = {name: f"{upstream} dbname={name}" for name in _DATABASES}
        for name, target in (databases or {}).items():
            self._databases[name] = f"{upstream} {target}"
        self._options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "admin_users": "admin",
            "stats_users": "stats",
            "pool_mode": pool_mode,
            "default_pool_size": "2",
            **(options or {}),
        }
        self._stack = ExitStack()

    @property
    def dsn(self) -> str:
        """For the ordinary user `app`."""
        return f"postgresql://app@127.0.0.1:{self.port}/app"

    @property
    def console_dsn(self) -> str:
        """For the admin console, with every right; as user `stats` it only shows."""
        return f"postgresql://admin@127.0.0.1:{self.port}/pgbouncer"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
            stack.callback(shutil.rmtree, folder)
            give_away(folder)
            self.pid = stack.enter_context(
                run_server(
                    [place_in_reach(self.binary.parent) / self.binary.name, self._write(folder)],
                    stop_signal=signal.SIGQUIT,  # at once; the others wait for clients
                    log=folder / "pgbouncer.log",
                    is_ready=lambda _: is_listening(self.port),
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _write(self, folder: Path) -> Path:
        """Write configuration and user list; returns the configuration's path."""
        users = folder / "users.txt"
        users.write_text("".join(f'"{user}" ""\n' for user in _USERS))
        configuration = folder / "pgbouncer.ini"
        options = {"auth_file": str(users), **self._options}
        lines = [
            "[databases]",
            *(f"{name} = {target}" for name, target in self._databases.items()),
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in options.items()),
        ]
        configuration.write_text("\n".join(lines) + "\n")
        for path in (users, configuration):
            path.chmod(0o644)
        return configuration
