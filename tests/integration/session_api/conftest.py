"""Fixtures: a session API of the test's own, in this process, on a real broker and a real store."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from running_api import Api, running_api

from broker import Broker, running_broker
from databases import KINDS, chosen


@pytest.fixture(scope="module", params=KINDS, autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs on every kind of database; this is its name."""
    with chosen(request.param):
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_api(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An API that serves all tests of a module: those that look at sessions of their own alone."""
    folder = tmp_path_factory.mktemp("one")
    async with running_broker(folder / "broker") as broker, running_api(folder / "api", broker.url) as running:
        await running.create(create_only=True)
        yield running


@pytest.fixture
async def api(broker: Broker, tmp_path: Path) -> AsyncIterator[Api]:
    """An API that serves."""
    async with running_api(tmp_path / "api", broker.url) as running:
        yield running
