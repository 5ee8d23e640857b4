"""One service for the whole session in front of each upstream, and one that is read along."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.notes import open_notes
from tests.fixtures.servers import Upstream
from tests.fixtures.service import Client, assert_nothing_left, run_client
from tests.fixtures.wired import Wired, run_wired


@pytest.fixture(scope="session")
async def shared_client(upstream: Upstream) -> AsyncIterator[Client]:
    """A service with default settings, but a small pool."""
    async with run_client(upstream, pool={"size": 4, "overflow": 0}) as client:
        yield client


@pytest.fixture
async def client(shared_client: Client, upstream: Upstream) -> AsyncIterator[Client]:
    """The shared service; the test must leave nothing behind."""
    yield shared_client
    await assert_nothing_left(shared_client, upstream)


@pytest.fixture(scope="module")
async def notes(upstream: Upstream) -> AsyncIterator[None]:
    """The table `notes` and the role `clerk`."""
    async with open_notes(upstream):
        yield


@pytest.fixture(scope="module")
async def service(upstream: Upstream) -> AsyncIterator[Wired]:
    """A service that is read along; a module that wants other settings has its own."""
    async with run_wired(upstream) as wired:
        yield wired


@pytest.fixture
async def wired(service: Wired, upstream: Upstream) -> AsyncIterator[Wired]:
    """The service that is read along; the test must leave nothing behind."""
    yield service
    await assert_nothing_left(service.client, upstream)
