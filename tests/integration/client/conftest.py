"""A stack for all tests of this folder, the command line as a process, a small city."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from stack import RunningStack, running_stack, start_milepost

COMMAND_TIMEOUT_S = 60.0
CONFIG = """<configuration>
  <input><net-file value="grid.net.xml"/><route-files value="cars.rou.xml"/></input>
  <time><begin value="0"/><end value="{end_s}"/></time>
</configuration>"""
ROUTES = """<routes>
  <flow id="east" begin="0" end="200" period="4" from="A0B0" to="C2D2"/>
  <flow id="west" begin="0" end="200" period="5" from="D3C3" to="B1A1"/>
</routes>"""


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """Its only object."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Awaitable[Finished]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """One stack for all: starting one costs as much as most tests."""
    async with running_stack(tmp_path_factory.mktemp("client") / "stack") as running:
        yield running


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """A grid with two flows, 300 simulated seconds: a folder with one configuration."""
    return make_city(tmp_path / "grid")


@pytest.fixture(scope="session")
def lasting_city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for sessions that several tests look at."""
    return make_city(tmp_path_factory.mktemp("city") / "grid")


def make_city(folder: Path) -> Path:
    """The city in a new folder."""
    folder.mkdir()
    netgenerate = Path(sys.executable).with_name("netgenerate")
    subprocess.run(
        [netgenerate, "--grid", "--grid.number", "4", "--output-file", folder / "grid.net.xml"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=COMMAND_TIMEOUT_S,
    )
    (folder / "cars.rou.xml").write_text(ROUTES)
    (folder / "run.sumocfg").write_text(CONFIG.format(end_s=300))
    return folder


@pytest.fixture
def milepost(stack: RunningStack) -> Command:
    """`await milepost("sessions", "list")`: the command line against the stack, told of one address only."""

    async def run(*arguments: str | Path) -> Finished:
        process = await start_milepost(*arguments, environment={"MILEPOST_SERVER": stack.ready["session_api"]})
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
        return Finished(process.returncode, out.decode(), err.decode())

    return run
