"""Everything that a handler may take from the application or the request."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from proxy.auth.authenticator import Authenticator
from proxy.engine.deadline import Deadline
from proxy.errors import Draining, ProxyError
from proxy.query.execute import QueryAnswer
from proxy.query.logins import Login, Logins
from proxy.query.models import Query
from proxy.query.policy import Policies, Policy
from proxy.query.saved_folder import SavedFolder
from proxy.settings import Settings
from proxy.stats.counters import Counters


@dataclass(slots=True)
class Lifecycle:
    """Where the service is in its life, and what it has in hand."""

    started_at: float  # on the event loop's clock
    is_draining: bool = False
    running: "dict[str, Exchange]" = field(default_factory=dict)  # by request id
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
    route: str = ""  # as the table has it
    client: str | None = None  # whose token it has
    has_details: bool = False  # a problem may tell what the server says of a violated constraint
    deadline: Deadline | None = None  # of what it asks of the upstream, and its identity there
    query: Query | None = None  # what it runs, where that is one statement

    @property
    def tag(self) -> str | None:
        """The client's label for it."""
        return self.query.tag if self.query is not None else None

    def set_deadline(self, timeout_s: float, query: Query | None = None) -> Deadline:
        """Give the request its time, counted from its start, and say what it runs."""
        self.query = query
        self.deadline = Deadline(self.started_at + timeout_s)
        return self.deadline

    def note(self, answer: QueryAnswer) -> None:
        """Keep what is said about a buffered answer."""
        self.queue_s, self.db_s, self.encode_s = answer.queue_s, answer.db_s, answer.encode_s
        self.row_count = answer.row_count


SETTINGS = web.AppKey("settings", Settings)
POLICIES = web.AppKey("policies", Policies)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
LOGINS = web.AppKey("logins", Logins)
SAVED = web.AppKey("saved", SavedFolder)
COUNTERS = web.AppKey("counters", Counters)
LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
LOGIN = web.RequestKey("login", Login)
POLICY = web.RequestKey("policy", Policy)
EXCHANGE = web.RequestKey("exchange", Exchange)
