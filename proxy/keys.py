"""Everything that a handler may take from the application or the request."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from proxy.engine.schema import SchemaReader
from proxy.engine.upstream import Upstream
from proxy.errors import Draining, ProxyError
from proxy.query.batch import BatchRunner
from proxy.query.copy import CopyRunner
from proxy.query.describe import DescribeRunner
from proxy.query.execute import QueryAnswer, QueryRunner
from proxy.query.models import QueryLimits
from proxy.query.saved_folder import SavedFolder
from proxy.query.stream import StreamRunner
from proxy.query.transaction_book import TransactionBook
from proxy.settings import Settings
from proxy.stats.counters import Counters


@dataclass(slots=True)
class Lifecycle:
    """Where the service is in its life, and what it has in hand."""

    started_at: float  # on the event loop's clock
    is_draining: bool = False
    running: set[str] = field(default_factory=set)  # request ids
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self) -> None:
        """Raise Draining once the service shuts down."""
        if self.is_draining:
            raise Draining("the service is shutting down")


@dataclass(slots=True)
class Exchange:
    """One request as the middleware follows it; handlers add what they know."""

    request_id: str
    started_at: float  # on the event loop's clock, for the deadline
    started_s: float  # on the performance counter, which is finer
    queue_s: float | None = None
    first_s: float | None = None  # until a stream's first row
    db_s: float | None = None
    encode_s: float | None = None
    row_count: int | None = None
    body_bytes: int | None = None  # where the response doesn't know
    error: ProxyError | None = None  # that came after the status line
    is_client_gone: bool = False

    def note(self, answer: QueryAnswer) -> None:
        """Keep what is said about a buffered answer."""
        self.queue_s, self.db_s, self.encode_s = answer.queue_s, answer.db_s, answer.encode_s
        self.row_count = answer.row_count


SETTINGS = web.AppKey("settings", Settings)
LIMITS = web.AppKey("limits", QueryLimits)
STREAM_LIMITS = web.AppKey("stream_limits", QueryLimits)
UPSTREAM = web.AppKey("upstream", Upstream)
RUNNER = web.AppKey("runner", QueryRunner)
STREAMS = web.AppKey("streams", StreamRunner)
BATCHES = web.AppKey("batches", BatchRunner)
COPIES = web.AppKey("copies", CopyRunner)
TRANSACTIONS = web.AppKey("transactions", TransactionBook)
SAVED = web.AppKey("saved", SavedFolder)
DESCRIBER = web.AppKey("describer", DescribeRunner)
SCHEMAS = web.AppKey("schemas", SchemaReader)
COUNTERS = web.AppKey("counters", Counters)
LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
EXCHANGE = web.RequestKey("exchange", Exchange)
