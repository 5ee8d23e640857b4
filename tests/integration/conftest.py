"""One service for the whole session in front of each upstream."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.servers import Upstream
from tests.fixtures.service import Client, assert_nothing_left, run_client


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
