"""Towns of any size for the figures that need them: a grid of signals, and vehicles that stay on the road.

Every vehicle sets out within the first minute and wanders at random for longer than any figure takes, so the
number of vehicles is what was asked for, all the time.
"""

import random
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

CONFIG = "town.sumocfg"
_STREET_M = 200
_DEPARTURES_S = 60.0
# Streets on the way of each vehicle: an hour and a half and more.
_STREETS = 300


def write_town(folder: Path, *, crossings: int, vehicles: int, end_time_s: float) -> Path:
    """A town of `crossings` by `crossings`; its configuration."""
    folder.mkdir(parents=True)
    net = folder / "town.net.xml"
    subprocess.run(
        [
            str(Path(sys.executable).with_name("netgenerate")),
            *("--grid", "--grid.number", str(crossings), "--grid.length", str(_STREET_M)),
            *("--default.lanenumber", "2", "--default-junction-type", "traffic_light", "--no-turnarounds", "true"),
            *("--seed", "1", "--output-file", str(net)),
        ],
        check=True,
        capture_output=True,
    )
    _write_routes(folder / "town.rou.xml", _followers(net), vehicles)
    config = folder / CONFIG
    config.write_text(
        "<configuration>\n"
        '    <input><net-file value="town.net.xml"/><route-files value="town.rou.xml"/></input>\n'
        f'    <time><begin value="0"/><end value="{end_time_s:g}"/></time>\n'
        "</configuration>\n"
    )
    return config


def _followers(net: Path) -> dict[str, list[str]]:
    """The streets that can be reached from each."""
    followers: dict[str, list[str]] = {}
    for connection in ElementTree.parse(net).iter("connection"):  # noqa: S314 - just generated
        start, end = connection.attrib["from"], connection.attrib["to"]
        if not start.startswith(":") and end not in followers.setdefault(start, []):
            followers[start].append(end)
    return followers


def _write_routes(path: Path, followers: dict[str, list[str]], vehicles: int) -> None:
    chance = random.Random(1)
    streets = sorted(followers)
    with path.open("w") as file:
        file.write('<routes>\n    <vType id="car" speedDev="0.1"/>\n')
        for number in range(vehicles):
            way = [chance.choice(streets)]
            while len(way) < _STREETS:
                way.append(chance.choice(followers[way[-1]]))
            file.write(
                f'    <vehicle id="{number}" type="car" depart="{number * _DEPARTURES_S / vehicles:.2f}"'
                ' departLane="random" departPos="random_free">'
                f'<route edges="{" ".join(way)}"/></vehicle>\n'
            )
        file.write("</routes>\n")
