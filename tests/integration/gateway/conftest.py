"""A store and an API that ask who calls, and a gateway before them, for all tests of this folder."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

for _folder in (Path(__file__).parent, Path(__file__).parents[1] / "tenants"):
    sys.path.insert(0, str(_folder))

from guarded_stack import Guarded, guarded_stack, token
from running_gateway import Browser, browsing_at, running_gateway

TENANT = "browsers"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """A store and an API that take tokens."""
    async with guarded_stack(tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the gateway serves."""
    folder = tmp_path_factory.mktemp("gateway")
    console = folder / "console"
    console.mkdir()
    (console / "index.html").write_text("<title>Milepost</title>")
    (console / "secret.key").write_text("not a page")
    origins = "https://city.example, https://other.example/"
    async with running_gateway(folder, *guarded.addresses, allowed_origins=origins, console=console) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def browser(gateway: str) -> AsyncIterator[Browser]:
    """Somebody with a token."""
    async with browsing_at(gateway, token("ada", tenant=TENANT)) as browser:
        yield browser
