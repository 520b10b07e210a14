"""How many sessions a command makes, and where and when they are run: from words."""

import re

import typer

from milepost.session.v1.session_pb2 import Priority, Scheduling, WorkClass

CLASSES = {
    "interactive": WorkClass.WORK_CLASS_INTERACTIVE,
    "standard": WorkClass.WORK_CLASS_STANDARD,
    "batch": WorkClass.WORK_CLASS_BATCH,
}
PRIORITIES = {
    "high": Priority.PRIORITY_HIGH,
    "normal": Priority.PRIORITY_NORMAL,
    "low": Priority.PRIORITY_LOW,
}
# Sessions of one command, at most.
MAX_SESSIONS = 10_000
_SEEDS = re.compile(r"(?P<first>\d{1,10})(?:\.\.(?P<last>\d{1,10}))?")


def seeds_of(text: str) -> list[int]:
    """Seeds from `1..100`, `1,2,7` or a mixture. Raises typer.BadParameter."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        found = _SEEDS.fullmatch(part.strip())
        first, last = (int(found["first"]), int(found["last"] or found["first"])) if found else (1, 0)
        if not first <= last < 2**31 or last - first >= MAX_SESSIONS:
            raise typer.BadParameter(f"{part!r} is no seed and no range like 1..100", param_hint="--seeds")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    if len(seeds) > MAX_SESSIONS:
        raise typer.BadParameter(f"are more than {MAX_SESSIONS}", param_hint="--seeds")
    return list(seeds)


def scheduling_of(*, pool: str, work_class: str | None, priority: str | None) -> Scheduling | None:
    """Where and when it is run; None: as the server does by default. Raises typer.BadParameter."""
    if work_class is not None and work_class not in CLASSES:
        raise typer.BadParameter(f"{work_class!r} is none of {', '.join(CLASSES)}", param_hint="--class")
    if priority is not None and priority not in PRIORITIES:
        raise typer.BadParameter(f"{priority!r} is none of {', '.join(PRIORITIES)}", param_hint="--priority")
    if not pool and work_class is None and priority is None:
        return None
    return Scheduling(
        pool=pool,
        work_class=CLASSES[work_class] if work_class else WorkClass.WORK_CLASS_UNSPECIFIED,
        priority=PRIORITIES[priority] if priority else Priority.PRIORITY_UNSPECIFIED,
    )
