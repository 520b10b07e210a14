"""The town's plan: a jittered, bent grid with avenues, a river and few bridges. Pure; same seed, same town."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Final

COLUMNS: Final = 13
ROWS: Final = 10
SPACING_M: Final = 150.0
GATEWAY_M: Final = 350.0
AVENUE_COLUMNS: Final = (2, 6, 10)
AVENUE_ROWS: Final = (1, 4, 8)
# The river flows between these rows; avenues and one small bridge cross it.
RIVER_ROW: Final = 5
BRIDGE_COLUMN: Final = 8
CLOSED_SHARE: Final = 0.14

_COLUMN_NAMES: Final = (
    *("Tannery Lane", "Orchard Street", "West Avenue", "Chapel Street", "Linden Street", "School Lane"),
    *("Station Avenue", "Baker Street", "Mill Bridge", "Weaver Street", "East Avenue", "Meadow Lane", "Kiln Road"),
)
_ROW_NAMES: Final = (
    *("Harbour Way", "South Ring", "Potter Street", "Garden Street", "King's Parade", "Quay Street"),
    *("Church Street", "Market Street", "North Ring", "Hill Road"),
)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A junction; `signal` is empty, `actuated` or `static`."""

    name: str
    x: float
    y: float
    kind: str
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Street:
    """One block of a street, both directions. `rank`: 3 avenue, 2 street, 1 lane."""

    start: str
    end: str
    name: str
    rank: int


def bend(column: float, row: float) -> tuple[float, float]:
    """Where a place of the grid lies, m: nothing in an old town is straight."""
    x, y = column * SPACING_M, row * SPACING_M
    return (
        x + 55 * math.sin(y / 420 + 0.6) + 22 * math.sin(x / 170),
        y + 70 * math.sin(x / 560) + 18 * math.sin((x + y) / 210),
    )


class Town:
    """All streets and crossings."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a plan, not a secret
        self._inner = tuple(self._inner_streets())

    @cached_property
    def streets(self) -> tuple[Street, ...]:
        """Everything that can be driven on, gateways included."""
        return (*self._inner, *(Street(f"{self._place(*at)}", name, street, 3) for name, at, street in self._gates()))

    @cached_property
    def crossings(self) -> tuple[Crossing, ...]:
        """Everything where streets meet or end."""
        used = {end for street in self.streets for end in (street.start, street.end)}
        inner = [
            self._crossing(column, row)
            for column in range(COLUMNS)
            for row in range(ROWS)
            if self._place(column, row) in used
        ]
        outer = [Crossing(name, *self._outside(*at), kind="priority") for name, at, _ in self._gates()]
        return (*inner, *outer)

    @cached_property
    def gateways(self) -> tuple[str, ...]:
        """Where traffic enters and leaves."""
        return tuple(name for name, _, _ in self._gates())

    def _place(self, column: int, row: int) -> str:
        return f"{chr(ord('A') + column)}{row}"

    def _crossing(self, column: int, row: int) -> Crossing:
        avenues = (column in AVENUE_COLUMNS) + (row in AVENUE_ROWS)
        if avenues == 2:
            # The signals of the centre count vehicles, those around it follow the clock.
            signal = "actuated" if row == AVENUE_ROWS[1] or column == AVENUE_COLUMNS[1] else "static"
        else:
            signal = "static" if avenues and (column + row) % 4 == 0 else ""
        kind = "traffic_light" if signal else "priority" if avenues else "right_before_left"
        x, y = bend(column, row)
        return Crossing(self._place(column, row), x, y, kind, signal)

    def _inner_streets(self) -> list[Street]:
        found: list[Street] = []
        for column in range(COLUMNS):
            for row in range(ROWS):
                here = self._place(column, row)
                if column + 1 < COLUMNS and self._is_open(row in AVENUE_ROWS):
                    rank = self._rank(row, AVENUE_ROWS)
                    found.append(Street(here, self._place(column + 1, row), _ROW_NAMES[row], rank))
                crosses = row == RIVER_ROW
                dry = column in AVENUE_COLUMNS or column == BRIDGE_COLUMN
                if row + 1 < ROWS and (dry if crosses else self._is_open(column in AVENUE_COLUMNS)):
                    rank = self._rank(column, AVENUE_COLUMNS)
                    found.append(Street(here, self._place(column, row + 1), _COLUMN_NAMES[column], rank))
        return found

    def _is_open(self, is_avenue: bool) -> bool:  # noqa: FBT001 - one argument, named by its type
        return is_avenue or self._random.random() >= CLOSED_SHARE

    @staticmethod
    def _rank(index: int, avenues: tuple[int, ...]) -> int:
        return 3 if index in avenues else 1 + index % 2

    def _gates(self) -> list[tuple[str, tuple[int, int], str]]:
        gates = [(f"gateW{row}", (0, row), _ROW_NAMES[row]) for row in AVENUE_ROWS]
        gates += [(f"gateE{row}", (COLUMNS - 1, row), _ROW_NAMES[row]) for row in AVENUE_ROWS]
        gates += [(f"gateS{column}", (column, 0), _COLUMN_NAMES[column]) for column in AVENUE_COLUMNS]
        gates += [(f"gateN{column}", (column, ROWS - 1), _COLUMN_NAMES[column]) for column in AVENUE_COLUMNS]
        return gates

    @staticmethod
    def _outside(column: int, row: int) -> tuple[float, float]:
        x, y = bend(column, row)
        across = {0: -GATEWAY_M, COLUMNS - 1: GATEWAY_M}.get(column, 0.0) if row in AVENUE_ROWS else 0.0
        along = {0: -GATEWAY_M, ROWS - 1: GATEWAY_M}.get(row, 0.0) if column in AVENUE_COLUMNS else 0.0
        return x + across, y + along
