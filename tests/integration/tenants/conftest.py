"""One stack that asks who calls, for all tests of this folder."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from guarded_stack import Guarded, guarded_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """A store and an API that take tokens."""
    async with guarded_stack(tmp_path_factory.mktemp("guarded")) as running:
        yield running
