"""Who drives in the town: commuters inwards, some through, some inside, and two bus lines. Pure; same seed, same trips.

vehicles/s     0.8 -> 2.4 at 07:30 -> 0.8        departures over 55 minutes, the rest is for those under way
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BEGIN_S: Final = 7 * 3600
END_S: Final = BEGIN_S + 3600
_LAST_DEPARTURE_S: Final = BEGIN_S + 3300
_PEAK_S: Final = BEGIN_S + 1800
_BASE_PER_S: Final = 0.8
_PEAK_PER_S: Final = 1.6
_PEAK_WIDTH_S: Final = 700.0
_HEADWAY_S: Final = 300
_DWELL_S: Final = 20
# Shares of the ways to drive: from outside into town, through it, inside it, out of it.
_WAYS: Final = {"in": 0.42, "through": 0.18, "inside": 0.25, "out": 0.15}
_TYPES: Final = {"car": 0.86, "van": 0.09, "truck": 0.05}

VEHICLE_TYPES: Final = """\
    <vType id="car" vClass="passenger" speedDev="0.1" color="235,235,235"/>
    <vType id="van" vClass="delivery" length="6.5" color="120,170,220"/>
    <vType id="truck" vClass="truck" color="200,140,60"/>
    <vType id="bus" vClass="bus" color="220,50,50"/>
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A bus line: its stops in order as (edge, stop)."""

    name: str
    start: str
    end: str
    stops: tuple[tuple[str, str], ...]


def trips(
    *, seed: int, entries: Sequence[str], exits: Sequence[str], inside: Mapping[str, float]
) -> Iterator[tuple[float, str]]:
    """Departure, s, and `<trip>` of every car, van and truck, by departure. `inside` weighs the town's edges."""
    chance = random.Random(seed)  # noqa: S311 - traffic, not a secret
    edges, weights = list(inside), list(inside.values())
    time_s, number = float(BEGIN_S), 0
    while True:
        time_s += chance.expovariate(_rate_per_s(time_s))
        if time_s >= _LAST_DEPARTURE_S:
            return
        way = chance.choices(list(_WAYS), list(_WAYS.values()))[0]
        start = chance.choice(entries) if way in {"in", "through"} else chance.choices(edges, weights)[0]
        end = chance.choice(exits) if way in {"out", "through"} else chance.choices(edges, weights)[0]
        kind = chance.choices(list(_TYPES), list(_TYPES.values()))[0]
        if _opposite(start, end):
            continue
        number += 1
        yield (
            time_s,
            f'    <trip id="{kind}.{number}" type="{kind}" depart="{time_s:.2f}" from="{start}" to="{end}"'
            f' departLane="best" departSpeed="max"/>',
        )


def buses(line: Line) -> Iterator[tuple[float, str]]:
    """Departure, s, and `<trip>` of every bus of a line."""
    stops = "".join(f'<stop busStop="{stop}" duration="{_DWELL_S}"/>' for _, stop in line.stops)
    for number, depart_s in enumerate(range(BEGIN_S, _LAST_DEPARTURE_S, _HEADWAY_S)):
        yield (
            float(depart_s),
            f'    <trip id="{line.name}.{number}" type="bus" line="{line.name}" depart="{depart_s:.2f}"'
            f' from="{line.start}" to="{line.end}" departLane="best">{stops}</trip>',
        )


def _rate_per_s(time_s: float) -> float:
    return _BASE_PER_S + _PEAK_PER_S * math.exp(-(((time_s - _PEAK_S) / _PEAK_WIDTH_S) ** 2))


def _opposite(start: str, end: str) -> bool:
    """Whether a trip would go nowhere: the same block, or only back along it."""
    return start == end or "-".join(reversed(start.split("-"))) == end
