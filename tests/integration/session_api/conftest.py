"""Fixtures: a session API of the test's own, in this process, on a real broker and a real store."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running_api import Api, running_api

from broker import Broker
from databases import KINDS, chosen


@pytest.fixture(params=KINDS, autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs on every kind of database; this is its name."""
    with chosen(request.param):
        yield request.param


@pytest.fixture
async def api(broker: Broker, tmp_path: Path) -> AsyncIterator[Api]:
    """An API that serves."""
    async with running_api(tmp_path / "api", broker.url) as running:
        yield running
