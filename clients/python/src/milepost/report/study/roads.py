"""The roads of a SUMO network, as lines on a map."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from milepost.report.study.elements import read_elements

# More corners than a map shows are left out: how far a line may be off, m.
_TOLERANCE_M = 0.5


class Point(NamedTuple):
    """A place in the network's own plane, m."""

    x_m: float
    y_m: float


@dataclass(frozen=True, slots=True)
class Road:
    """An edge as its middle line, in the direction of travel."""

    edge_id: str
    lanes: int
    line: tuple[Point, ...]


def roads_of(chunks: Iterable[bytes]) -> list[Road]:
    """The edges that vehicles drive on, in the network's order, of a `.net.xml` or `.net.xml.gz`.

    Junctions' inner edges, crossings and walks are left out. Raises ValueError when it is no network.
    """
    reader = _Reader()
    read_elements(_unpacked(chunks), reader.start, reader.end)
    return reader.roads


@dataclass(slots=True)
class _Reader:
    roads: list[Road] = field(default_factory=list)
    _edge_id: str | None = None
    _lines: list[tuple[Point, ...]] = field(default_factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "edge":
            # Edges with a function are no roads: internal, crossing, walkingarea, connector.
            plain = attributes.get("function", "normal") == "normal"
            self._edge_id, self._lines = attributes["id"] if plain else None, []
        elif name == "lane" and self._edge_id is not None:
            self._lines.append(_points(attributes["shape"]))

    def end(self, name: str) -> None:
        if name == "edge" and self._edge_id is not None and self._lines:
            middle = self._lines[len(self._lines) // 2]
            self.roads.append(Road(self._edge_id, len(self._lines), simplified(middle)))
            self._edge_id = None


def simplified(line: tuple[Point, ...]) -> tuple[Point, ...]:
    """A line without the corners that are nearly straight (Douglas and Peucker 1973)."""
    keep = {0, len(line) - 1}
    stretches = [(0, len(line) - 1)]
    while stretches:
        first, last = stretches.pop()
        farthest = max(range(first + 1, last), key=lambda at: _off(line[at], line[first], line[last]), default=None)
        if farthest is not None and _off(line[farthest], line[first], line[last]) > _TOLERANCE_M:
            keep.add(farthest)
            stretches += [(first, farthest), (farthest, last)]
    return tuple(line[at] for at in sorted(keep))


def _off(point: Point, begin: Point, end: Point) -> float:
    """How far a point is from a line between two others, m."""
    length_x, length_y = end.x_m - begin.x_m, end.y_m - begin.y_m
    away_x, away_y = point.x_m - begin.x_m, point.y_m - begin.y_m
    square = length_x**2 + length_y**2
    along = min(1.0, max(0.0, (away_x * length_x + away_y * length_y) / square)) if square else 0.0
    return float(((away_x - along * length_x) ** 2 + (away_y - along * length_y) ** 2) ** 0.5)


def _points(shape: str) -> tuple[Point, ...]:
    return tuple(Point(*(float(one) for one in corner.split(",")[:2])) for corner in shape.split())


def _unpacked(chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Chunks as they are, or unpacked when they begin as gzip does."""
    unpack = None
    for number, chunk in enumerate(chunks):
        if number == 0 and chunk[:2] == b"\x1f\x8b":
            unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        yield unpack.decompress(chunk) if unpack else chunk
