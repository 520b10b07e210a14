"""How many sessions wait for a worker, as one of them sees it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runtime.turns import group_of, rank_of
from runtime.work_queue import Line


@dataclass(frozen=True, slots=True)
class Queue:
    """Sessions that wait for a worker of a pool, as one of them sees it."""

    line: Line
    """Where it stands."""
    waiting: int
    """All of them, it included."""
    before: int
    """Those of its tenant and class that are before it."""
    other_classes: int
    """Those of its tenant's other classes."""
    other_tenants: int
    """Other tenants that wait for their turns."""

    @classmethod
    def of(cls, line: Line, rows: Iterable[Any]) -> "Queue":
        """From counts (tenant, work_class, all, earlier) of those that wait for the line's pool."""
        waiting = before = other_classes = 0
        tenants = set()
        for row in rows:
            waiting += row.all
            if row.tenant != line.tenant:
                tenants.add(row.tenant)
            elif group_of(row.work_class) != group_of(line.work_class):
                other_classes += row.all
            elif row.work_class == line.work_class:
                before += row.earlier
            elif rank_of(row.work_class) < rank_of(line.work_class):
                before += row.all
        return cls(line, waiting, before, other_classes, len(tenants))
