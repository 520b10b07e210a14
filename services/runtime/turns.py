"""Whose turn it is when a slot is free. Pure: no clock, no broker.

Tenants first: the one with the fewest running sessions, of equals the one that was served longest ago. Nobody gets
more by sending more, by sending it in more classes, or by calling it urgent. Then the classes of that tenant, by what
they run in proportion to their weights; of equals the one furthest behind its share of the turns taken (start-time
fair queueing: a turn costs a class 1/weight). Then priorities, strictly. A tenant or class that was passed over for
long is next whatever it runs: what the broker counts as running may be what a dead worker has left.

What is running is counted over all workers by the broker, so workers agree without talking to each other; the memory
of turns is each one's own and decides where counting does not, above all when slots are few.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

# What a class weighs when those of one tenant share its slots.
WEIGHTS = {"interactive": 8, "standard": 4, "batch": 1}
# Priorities, the first to be served first: what stands behind the class in its token.
PRIORITIES = ("_high", "", "_low")
# For how many turns of every tenant that waits one of them may be passed over.
PATIENCE_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Standing:
    """One tenant's orders of one class."""

    tenant: str
    work_class: str
    """As subjects have it: `standard`, or `batch_low` where the priority is not the ordinary one."""
    waiting: int
    running: int

    @property
    def group(self) -> str:
        """The class without its priority."""
        return group_of(self.work_class)

    @property
    def weight(self) -> int:
        """Of its class; 1 for one that a later release has added."""
        return WEIGHTS.get(self.group, 1)

    @property
    def rank(self) -> int:
        """Of its priority: 0 is served first."""
        return rank_of(self.work_class)


def group_of(work_class: str) -> str:
    """A class without its priority."""
    return work_class.partition("_")[0]


def rank_of(work_class: str) -> int:
    """Of a class's priority within the class: 0 is served first."""
    priority = work_class.removeprefix(group_of(work_class))
    return PRIORITIES.index(priority) if priority in PRIORITIES else len(PRIORITIES)


@dataclass(slots=True)
class Turns:
    """The order of lines, and the turns that were taken."""

    _turn: int = 0
    _tenant_turn: dict[str, int] = field(default_factory=dict)
    _class_turn: dict[tuple[str, str], int] = field(default_factory=dict)
    # Per tenant and class: where its next turn begins, in turns divided by weight; per tenant: where the last began.
    _next: dict[tuple[str, str], float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def in_order(self, standings: Iterable[Standing]) -> list[Standing]:
        """All of them, the one whose turn it is first."""
        standings = list(standings)
        patience = PATIENCE_ROUNDS * len({one.tenant for one in standings if one.waiting})
        of_tenant: defaultdict[str, int] = defaultdict(int)
        of_class: defaultdict[tuple[str, str], int] = defaultdict(int)
        for one in standings:
            of_tenant[one.tenant] += one.running
            of_class[one.tenant, one.group] += one.running

        def key(one: Standing) -> tuple[int, int, str, float, float, int, int, str]:
            tenant, group = one.tenant, (one.tenant, one.group)
            # Whoever is new here begins to wait now.
            tenant_waits = self._turn - self._tenant_turn.setdefault(tenant, self._turn)
            class_waits = self._turn - self._class_turn.setdefault(group, self._turn)
            return (
                -1 if tenant_waits >= patience else of_tenant[tenant],
                -tenant_waits,
                tenant,
                -1 if class_waits >= patience * sum(WEIGHTS.values()) else of_class[group] / one.weight,
                self._begins(one),
                -one.weight,
                one.rank,
                one.work_class,
            )

        return sorted(standings, key=key)

    def took(self, one: Standing) -> None:
        """A turn was taken."""
        self._turn += 1
        self._tenant_turn[one.tenant] = self._class_turn[one.tenant, one.group] = self._turn
        begins = self._begins(one)
        self._next[one.tenant, one.group] = begins + 1 / one.weight
        self._last[one.tenant] = begins

    def _begins(self, one: Standing) -> float:
        """A class that had nothing to do for a while is not owed what it did not want."""
        return max(self._next.get((one.tenant, one.group), 0.0), self._last.get(one.tenant, 0.0))
