"""Fixtures: one broker and store for all tests of a module."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from rig import Rig, rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """Broker and store; each test starts the workers it wants."""
    async with rig(tmp_path_factory.mktemp("stage")) as (running, _):
        yield running
