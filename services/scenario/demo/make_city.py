"""Makes the demo city: `python -m scenario.demo.make_city [FOLDER]`.

Needs SUMO's netconvert and duarouter beside the interpreter. The result is committed; run this after changing the
plan. Same SUMO, same bytes.
"""

from __future__ import annotations

import gzip
import heapq
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from defusedxml import ElementTree

from scenario.demo import CONFIG, demo_directory
from scenario.demo.scenery import scenery
from scenario.demo.streets import Street, Town
from scenario.demo.traffic import BEGIN_S, END_S, VEHICLE_TYPES, Line, buses, trips

SEED: Final = 1848
_SPEED_MPS: Final = {1: 8.33, 2: 11.11, 3: 13.89}
_LANES: Final = {1: 1, 2: 1, 3: 2}
_STOP_LENGTH_M: Final = 15.0
_STOP_AT_M: Final = 60.0
_DETECTOR_PERIOD_S: Final = 60
_EDGE_PERIOD_S: Final = 300
# Route choice: how far drivers misjudge a street.
_ROUTE_SPREAD: Final = "1.4"
_GENERATED: Final = re.compile(rb"<!-- generated on.*?-->\s*", re.DOTALL)
_LINES: Final = (
    ("line1", ("gateW4", "A4", "C4", "E4", "G4", "I4", "K4", "M4", "gateE4")),
    ("line2", ("gateS6", "G0", "G1", "G3", "G4", "G6", "G8", "G9", "gateN6")),
)


def make_city(folder: Path) -> None:
    """Writes the city's files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    town = Town(SEED)
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        net = _make_net(town, scratch)
        lengths_m = _edge_lengths(net)
        lines = [_line(name, corners, lengths_m) for name, corners in _LINES]
        stops = _write(scratch / "stops.add.xml", "additional", _stops(lines))
        demand = _write(scratch / "trips.xml", "routes", _demand(town, lengths_m, lines))
        routes = _route(demand, net, stops, scratch)
        _pack(net.read_bytes(), folder / "milton.net.xml.gz")
        _pack(routes.read_bytes(), folder / "milton.rou.xml.gz")
        (folder / "stops.add.xml").write_bytes(stops.read_bytes())
        _write(folder / "detectors.add.xml", "additional", _detectors(town, lengths_m))
        _pack(
            _write(scratch / "scenery.add.xml", "additional", scenery(SEED)).read_bytes(), folder / "scenery.add.xml.gz"
        )
    (folder / CONFIG).write_text(_config(), encoding="utf-8")


def _make_net(town: Town, scratch: Path) -> Path:
    nodes = (
        f'    <node id="{crossing.name}" x="{crossing.x:.1f}" y="{crossing.y:.1f}" type="{crossing.kind}"'
        + (f' tlType="{crossing.signal}"' if crossing.signal else "")
        + "/>"
        for crossing in town.crossings
    )
    edges = (
        f'    <edge id="{start}-{end}" from="{start}" to="{end}" name={quoteattr(street.name)}'
        f' priority="{street.rank}" numLanes="{_LANES[street.rank]}" speed="{_SPEED_MPS[street.rank]}"/>'
        for street in town.streets
        for start, end in _ways(street)
    )
    net = scratch / "net.xml"
    _run(
        "netconvert",
        *("--node-files", str(_write(scratch / "plain.nod.xml", "nodes", nodes))),
        *("--edge-files", str(_write(scratch / "plain.edg.xml", "edges", edges))),
        *(
            "--output-file",
            str(net),
            "--no-turnarounds.except-deadend",
            "--keep-edges.components",
            "1",
            "--offset.disable-normalization",
        ),
        *("--output.street-names", "--tls.default-type", "static", "--tls.left-green.time", "8"),
    )
    net.write_bytes(_GENERATED.sub(b"", net.read_bytes()))
    return net


def _ways(street: Street) -> tuple[tuple[str, str], tuple[str, str]]:
    return (street.start, street.end), (street.end, street.start)


def _edge_lengths(net: Path) -> dict[str, float]:
    """Length in m of every edge traffic can use."""
    root = ElementTree.parse(net, forbid_dtd=True).getroot()
    assert root is not None
    edges = (edge for edge in root.iter("edge") if edge.get("function") is None)
    return {edge.attrib["id"]: float(next(edge.iter("lane")).attrib["length"]) for edge in edges}


def _line(name: str, corners: tuple[str, ...], lengths_m: dict[str, float]) -> Line:
    """A line along a straight avenue, with a stop shortly before each named corner."""
    edges = [_edge_into(corner, corners, lengths_m) for corner in corners[1:-1]]
    stops = tuple((edge, f"{name}.{edge}") for edge in edges[1:])
    return Line(name, f"{corners[0]}-{corners[1]}", f"{corners[-2]}-{corners[-1]}", stops)


def _edge_into(corner: str, corners: tuple[str, ...], lengths_m: dict[str, float]) -> str:
    """The avenue's edge that ends at `corner`, coming from the start of the line."""
    column, row = ord(corner[0]), int(corner[1:])
    before = f"{chr(column - 1)}{row}" if corners[1][1:] == corners[-2][1:] else f"{corner[0]}{row - 1}"
    edge = f"{before}-{corner}"
    return edge if edge in lengths_m else f"{corners[0]}-{corner}"


def _stops(lines: list[Line]) -> Iterable[str]:
    for line in lines:
        for edge, stop in line.stops:
            place = f'lane="{edge}_0" startPos="{_STOP_AT_M}" endPos="{_STOP_AT_M + _STOP_LENGTH_M}"'
            yield f'    <busStop id="{stop}" {place} lines="{line.name}" friendlyPos="true"/>'


def _demand(town: Town, lengths_m: dict[str, float], lines: list[Line]) -> Iterable[str]:
    gateways = set(town.gateways)
    entries = [edge for edge in lengths_m if edge.split("-")[0] in gateways]
    exits = [edge for edge in lengths_m if edge.split("-")[1] in gateways]
    inside = {edge: length for edge, length in lengths_m.items() if edge not in {*entries, *exits}}
    private = trips(seed=SEED, entries=entries, exits=exits, inside=inside)
    yield VEHICLE_TYPES.rstrip("\n")
    for _, trip in heapq.merge(private, *(buses(line) for line in lines)):
        yield trip


def _route(demand: Path, net: Path, stops: Path, scratch: Path) -> Path:
    routes = scratch / "routes.xml"
    _run(
        "duarouter",
        *("--net-file", str(net), "--route-files", str(demand), "--additional-files", str(stops)),
        *("--output-file", str(routes), "--seed", str(SEED), "--weights.random-factor", _ROUTE_SPREAD),
        *("--xml-validation", "never", "--alternatives-output", "NUL", "--no-step-log"),
        "--ptline-routing",  # or duarouter drops whatever belongs to a line
    )
    routes.write_bytes(_GENERATED.sub(b"", routes.read_bytes()))
    return routes


def _detectors(town: Town, lengths_m: dict[str, float]) -> Iterable[str]:
    for gateway in town.gateways:
        edge = next(edge for edge in lengths_m if edge.startswith(f"{gateway}-"))
        for lane in (0, 1):
            yield (
                f'    <inductionLoop id="e1.{edge}.{lane}" lane="{edge}_{lane}" pos="100"'
                f' period="{_DETECTOR_PERIOD_S}" file="e1.xml"/>'
            )
    queued = ("F4-G4", "H4-G4", "G3-G4", "G5-G4")
    for edge in (edge for edge in queued if edge in lengths_m):
        for lane in (0, 1):
            yield (
                f'    <laneAreaDetector id="e2.{edge}.{lane}" lane="{edge}_{lane}" pos="-80" endPos="-1"'
                f' friendlyPos="true" period="{_DETECTOR_PERIOD_S}" file="e2.xml"/>'
            )
    yield f'    <edgeData id="streets" period="{_EDGE_PERIOD_S}" excludeEmpty="true" file="edges.xml"/>'


def _config() -> str:
    return f"""\
<configuration>
    <input>
        <net-file value="milton.net.xml.gz"/>
        <route-files value="milton.rou.xml.gz"/>
        <additional-files value="stops.add.xml,detectors.add.xml,scenery.add.xml.gz"/>
    </input>
    <output><statistic-output value="statistics.xml"/></output>
    <time><begin value="{BEGIN_S}"/><end value="{END_S}"/></time>
    <processing><time-to-teleport value="240"/></processing>
</configuration>
"""


def _write(path: Path, root: str, elements: Iterable[str]) -> Path:
    body = "\n".join(elements)
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>\n{body}\n</{root}>\n', encoding="utf-8")
    return path


def _pack(content: bytes, path: Path) -> None:
    # No time in the header: same city, same bytes.
    with (
        path.open("wb") as sink,
        gzip.GzipFile(filename="", mode="wb", fileobj=sink, compresslevel=9, mtime=0) as packed,
    ):
        packed.write(content)


def _run(tool: str, *arguments: str) -> None:
    subprocess.run([str(Path(sys.executable).parent / tool), *arguments], check=True)


if __name__ == "__main__":
    make_city(Path(sys.argv[1]) if len(sys.argv) > 1 else demo_directory())
