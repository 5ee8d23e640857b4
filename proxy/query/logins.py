"""What runs statements, for each login to the upstream."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from proxy.engine.schema import SchemaReader
from proxy.engine.subscription import SubscriptionBook
from proxy.engine.upstream import Upstream
from proxy.errors import ProxyError
from proxy.query.batch import BatchRunner
from proxy.query.copy import CopyRunner
from proxy.query.describe import DescribeRunner
from proxy.query.execute import QueryRunner
from proxy.query.stream import StreamRunner
from proxy.query.transaction_book import TransactionBook
from proxy.settings import Settings
from proxy.stats.events import Emit


class Login(NamedTuple):
    """One login: its upstream with a pool of its own, and everything that runs there."""

    upstream: Upstream
    queries: QueryRunner
    streams: StreamRunner
    batches: BatchRunner
    copies: CopyRunner
    transactions: TransactionBook
    describer: DescribeRunner
    schemas: SchemaReader
    subscriptions: SubscriptionBook

    @classmethod
    def build(cls, settings: Settings, emit: Emit, *, is_client: bool = False) -> "Login":
        """Make what serves `upstream.dsn` of these settings; nothing is opened yet."""
        limits = settings.limits
        upstream = Upstream(settings, emit, is_client=is_client)
        queries = QueryRunner(upstream)
        return cls(
            upstream=upstream,
            queries=queries,
            streams=StreamRunner(upstream, emit),
            batches=BatchRunner(upstream, queries, limits.batch_parallel, emit),
            copies=CopyRunner(upstream, limits.body_bytes),
            transactions=TransactionBook(upstream, _held_limit(settings), emit),
            describer=DescribeRunner(upstream),
            schemas=SchemaReader(upstream, emit),
            subscriptions=SubscriptionBook(settings, upstream, emit),
        )

    async def close(self) -> None:
        """Close what is open."""
        await self.schemas.close()
        await self.transactions.close()
        await self.subscriptions.close()
        await self.upstream.close()


class Logins:
    """The login of `upstream.dsn`, and those of `upstream.logins` for their clients."""

    def __init__(self, settings: Settings, emit: Emit) -> None:
        self.default = Login.build(settings, emit)
        self.of_clients = {
            client: Login.build(settings.for_login(client), emit, is_client=True)
            for client in settings.upstream.logins
        }

    def __iter__(self) -> Iterator[Login]:
        """Every one of them."""
        return iter((self.default, *self.of_clients.values()))

    def choose(self, client: str | None) -> Login:
        """Choose the login that a client's statements run as."""
        return self.of_clients.get(client, self.default) if client else self.default

    async def start(self) -> None:
        """Reach the upstream as every login.

        Raises:
            ProxyError: a failure that only another configuration can mend.
        """
        await self.default.upstream.start()
        for client, login in self.of_clients.items():
            try:
                await login.upstream.start()
            except ProxyError as error:
                raise ProxyError(f"upstream.logins, client {client}: {error.detail}") from error

    async def close(self) -> None:
        """Close what is open."""
        await asyncio.gather(*(login.close() for login in self))


def _held_limit(settings: Settings) -> int:
    """How many connections open transactions may hold."""
    share = (settings.pool.size + settings.pool.overflow) * settings.limits.held_share
    return max(1, int(share))
