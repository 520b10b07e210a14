"""Fixtures for every folder: a real broker, and a patient wait for conditions."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from broker import Broker, running_broker

PATIENCE_S = 30.0


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A nats-server of this test's own."""
    async with running_broker(tmp_path / "broker") as running:
        yield running


async def eventually(condition: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
