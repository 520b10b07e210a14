"""Which of a tenant's sessions get an order while its quotas have room."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.turns import Standing, Turns


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that wants an order and has none."""

    session_id: str
    work_class: str
    claimed: bool = False
    """Whether a worker has it: its order was lost."""
    held: bool = False
    """Whether it was taken beyond the quota of sessions and counts only from its first order on."""


def released(
    waiting: Sequence[Waiting],
    *,
    tenant: str,
    ordered: Mapping[str, int],
    slots: int | None,
    sessions_left: int | None,
    turns: Turns,
) -> list[Waiting]:
    """Those that get one now, in this order; `waiting` is in the order in which they were created.

    `ordered` counts the orders that are out, by class; `slots` may be out at once; so many of the held may begin as
    `sessions_left` says. None: any number. Classes share the slots by weight, as they share the workers'.
    """
    chosen = [one for one in waiting if one.claimed]
    out = Counter(ordered)
    out.update(one.work_class for one in chosen)
    lines: dict[str, deque[Waiting]] = {}
    for one in waiting:
        if not one.claimed and not (one.held and _over(sessions_left)):
            lines.setdefault(one.work_class, deque()).append(one)
            if one.held and sessions_left is not None:
                sessions_left -= 1
    while lines and (slots is None or out.total() < slots):
        standings = [Standing(tenant, name, len(line), out[name]) for name, line in lines.items()]
        # Classes of which all has its order count as well: they run.
        standings += [Standing(tenant, name, 0, count) for name, count in out.items() if name not in lines]
        first = next(one for one in turns.in_order(standings) if one.waiting)
        turns.took(first)
        chosen.append(lines[first.work_class].popleft())
        out[first.work_class] += 1
        if not lines[first.work_class]:
            del lines[first.work_class]
    return chosen


def _over(left: int | None) -> bool:
    return left is not None and left <= 0
