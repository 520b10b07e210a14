"""What stands around the streets: houses, parks, the river and places people know. For the eye only. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from scenario.demo.streets import COLUMNS, RIVER_ROW, ROWS, bend

_PARKS: Final = frozenset({(4, 3), (5, 3), (8, 7), (1, 6)})
_BUILT_SHARE: Final = 0.88
_PLACES: Final = (
    *(("town_hall", 6.5, 4.5, "200,60,60"), ("station", 5.5, 8.5, "60,60,160"), ("hospital", 9.5, 2.5, "200,60,60")),
    *(("school", 4.5, 6.5, "200,160,40"), ("harbour", 11.5, 5.4, "60,120,180"), ("market", 7.5, 7.5, "160,100,60")),
)
_HOUSES: Final = ("190,170,150", "205,185,165", "180,165,155", "200,180,150")


def scenery(seed: int) -> Iterator[str]:
    """`<poly>` and `<poi>` elements."""
    chance = random.Random(seed)  # noqa: S311 - houses, not a secret
    yield _poly("river.mile", "water.river", "120,170,210", _river())
    for column in range(COLUMNS - 1):
        for row in range(ROWS - 1):
            if row == RIVER_ROW:
                continue
            if (column, row) in _PARKS:
                corners = [(column + u, row + v) for u, v in ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))]
                yield _poly(f"park.{column}.{row}", "leisure.park", "150,200,120", [bend(*at) for at in corners])
            else:
                yield from _block(column, row, chance)
    for name, across, along, color in _PLACES:
        x, y = bend(across, along)
        yield f'    <poi id="{name}" type="place" color="{color}" layer="3" x="{x:.1f}" y="{y:.1f}"/>'


def _block(column: int, row: int, chance: random.Random) -> Iterator[str]:
    across, along = chance.choice(((3, 2), (2, 2), (4, 2), (3, 3)))
    for lot_x in range(across):
        for lot_y in range(along):
            if chance.random() > _BUILT_SHARE:
                continue
            left, width = 0.14 + 0.72 * lot_x / across, 0.72 / across * chance.uniform(0.6, 0.9)
            low, height = 0.14 + 0.72 * lot_y / along, 0.72 / along * chance.uniform(0.6, 0.9)
            corners = [(left, low), (left + width, low), (left + width, low + height), (left, low + height)]
            shape = [bend(column + u, row + v) for u, v in corners]
            yield _poly(f"house.{column}.{row}.{lot_x}{lot_y}", "building", chance.choice(_HOUSES), shape)


def _river() -> list[tuple[float, float]]:
    columns = [column / 2 - 3 for column in range(2 * COLUMNS + 11)]
    north = [bend(column, RIVER_ROW + 0.70) for column in columns]
    south = [bend(column, RIVER_ROW + 0.33) for column in reversed(columns)]
    return north + south


def _poly(name: str, kind: str, color: str, shape: list[tuple[float, float]]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape)
    return f'    <poly id="{name}" type="{kind}" color="{color}" fill="1" layer="-1" shape="{points}"/>'
