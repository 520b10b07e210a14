"""Fixtures: an event store of the test's own, in this process, on a real broker."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.js import JetStreamContext

sys.path.insert(0, str(Path(__file__).parent))

from running_store import Store, running_store

from broker import Broker, running_broker
from databases import KINDS, chosen
from runtime.broker import connect, disconnect, ensure_streams, jetstream


@pytest.fixture(scope="module", params=KINDS, autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs on every kind of database; this is its name."""
    with chosen(request.param):
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_store(
    database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[JetStreamContext, Store]]:
    """A connection that appends, and a store that serves all tests of a module."""
    folder = tmp_path_factory.mktemp("one")
    async with running_broker(folder / "broker") as broker:
        client = await connect(broker.url, name="test", appends=True)
        context = jetstream(client)
        await ensure_streams(context)
        async with running_store(folder / "store", broker.url) as running:
            yield context, running
        await disconnect(client)


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    """A connection that appends."""
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await disconnect(client)


@pytest.fixture
async def store(broker: Broker, js: JetStreamContext, tmp_path: Path) -> AsyncIterator[Store]:
    """A store that serves."""
    async with running_store(tmp_path / "store", broker.url) as running:
        yield running
