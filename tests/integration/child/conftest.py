"""Fixtures: a city, and a zygote per module."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[2] / "contract" / "engine"))

from child_runs import City

from milepost.session.v1.session_pb2 import Engine
from sim_worker.gateways.zygote import Zygote


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> City:
    """A generated net, shared; every session has a directory of its own."""
    return City.generate(tmp_path_factory.mktemp("city"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    """One that forks."""
    running = await Zygote.start()
    yield running
    await running.close()


@pytest.fixture(params=[Engine.ENGINE_LIBSUMO, Engine.ENGINE_TRACI], ids=["libsumo", "traci"])
def engine(request: pytest.FixtureRequest, zygote: Zygote) -> Engine.ValueType:
    """Each engine; libsumo only where it can be imported."""
    chosen: Engine.ValueType = request.param
    if chosen == Engine.ENGINE_LIBSUMO and zygote.ready.libsumo_missing:
        pytest.skip(f"libsumo cannot be used here: {zygote.ready.libsumo_missing}")
    return chosen
