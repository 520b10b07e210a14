"""One stack and one city for all tests of this folder."""

import gzip
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from scenario.demo import demo_directory
from stack import RunningStack, running_stack

SLOTS = 8


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A stack whose sessions are independent of each other; it must leave nothing at the end."""
    async with running_stack(tmp_path_factory.mktemp("stack"), slots=SLOTS) as running:
        yield running


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city nobody has seen before: generated anew, with signals, flows, persons and an output of its own."""
    folder = tmp_path_factory.mktemp("city")
    binaries = Path(sys.executable).parent
    subprocess.run(
        [
            *(binaries / "netgenerate", "--rand", "--rand.iterations", "60", "--seed", "7", "--tls.guess", "true"),
            *("--tls.default-type", "actuated", "-o", folder / "city.net.xml"),
        ],
        check=True,
        capture_output=True,
    )
    net = (folder / "city.net.xml").read_text()
    edges = [part.split('"')[0] for part in net.split('<edge id="')[1:] if not part.startswith(":")]
    flows = "".join(
        f'<flow id="f{n}" type="car" begin="{n * 3}" end="500" probability="0.12" from="{a}" to="{b}"/>\n'
        for n, (a, b) in enumerate(zip(edges[::7], edges[3::7], strict=False))
    )
    (folder / "city.rou.xml").write_text(
        f'<routes>\n<vType id="car" sigma="0.5" speedFactor="normc(1,0.1,0.2,2)"/>\n{flows}</routes>\n'
    )
    (folder / "city.add.xml").write_text(
        '<additional>\n<edgeData id="means" freq="100" file="deep/inside/means.xml"/>\n</additional>\n'
    )
    (folder / "city.sumocfg").write_text(
        '<configuration>\n<input><net-file value="city.net.xml"/><route-files value="city.rou.xml"/>'
        '<additional-files value="city.add.xml"/></input>\n'
        '<time><begin value="0"/><end value="600"/></time>\n'
        '<output><tripinfo-output value="trips.xml"/></output>\n</configuration>\n'
    )
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def digest(stack: RunningStack) -> str:
    """The bundled city's."""
    return (await stack.client.scenarios.upload(demo_directory())).digest


@pytest.fixture(scope="session")
def streets() -> list[str]:
    """Ids of streets of the bundled city."""
    net = gzip.decompress(next(demo_directory().glob("*.net.xml.gz")).read_bytes()).decode()
    return [part.split('"')[0] for part in net.split('<edge id="')[1:] if not part.startswith(":")]
