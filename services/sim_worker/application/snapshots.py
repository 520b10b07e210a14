"""The sleeping copies a worker keeps of its sessions' processes, few and bounded (determinism.md)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from milepost.child.v1.child_pb2 import Started
from session_log.past import Past
from session_log.planned import planned_before
from sim_worker.gateways.snapshot import Snapshot

log = structlog.get_logger()

# Copies kept of one session, beside what its memory limit allows: the newest for survival, others to go back to.
MAX_PER_SESSION = 4

Key = tuple[str, str]


def first_name(snapshot_id: str) -> str:
    """The name of the copy that was there before all that took its place."""
    return snapshot_id.partition("+")[0]


def next_name(snapshot_id: str) -> str:
    """The name of the copy that takes the place of another."""
    _, _, number = snapshot_id.partition("+")
    return f"{first_name(snapshot_id)}+{int(number or 0) + 1}"


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy and what it is of."""

    run: int
    snapshot: Snapshot
    started: Started
    """What SUMO said when the process it is a copy of had loaded the scene."""
    checkpoint_id: str = ""
    """The checkpoint it belongs to; empty: it is there for survival only, and the next of its kind replaces it."""

    @property
    def step(self) -> int:
        """Where it sleeps."""
        return self.snapshot.place.step

    def within(self, *, step: int, journal_length: int, planned_length: int) -> bool:
        """Whether it has not passed a place."""
        place = self.snapshot.place
        return place.step <= step and place.journal_length <= journal_length and place.planned_length <= planned_length


@dataclass(slots=True)
class Snapshots:
    """All copies of one worker, by session."""

    _kept: dict[Key, list[Kept]] = field(default_factory=dict)

    def keep(self, key: Key, kept: Kept) -> None:
        """Add one; the oldest goes when there are too many, and a survival copy when a newer one comes."""
        there = self._alive(key)
        too_many = len(there) - MAX_PER_SESSION + 1
        for old in there:
            if (not kept.checkpoint_id and not old.checkpoint_id) or too_many > 0:
                old.snapshot.close()
                too_many -= 1
        self._kept[key] = [*self._alive(key), kept]

    def best(self, key: Key, past: Past, *, upto_step: int, unchanged: bool = False) -> Kept | None:
        """The latest copy that is a place of this past, no further than a step.

        `unchanged`: nor one that was changed at that very step.
        """
        fitting = [
            kept
            for kept in self._alive(key)
            if kept.step <= upto_step
            and not (unchanged and kept.step == upto_step and _changed_there(past, kept))
            and past.holds(run=kept.run, step=kept.step, journal_length=kept.snapshot.place.journal_length)
            and _recorded(past, kept.step)
        ]
        return max(fitting, key=lambda kept: (kept.step, kept.snapshot.place.journal_length), default=None)

    def of_run(self, key: Key, *, run: int, upto_step: int, journal_length: int, planned_length: int) -> Kept | None:
        """The latest copy of one run, no further than a place."""
        fitting = [
            kept
            for kept in self._alive(key)
            if kept.run == run
            and kept.within(step=upto_step, journal_length=journal_length, planned_length=planned_length)
        ]
        return max(fitting, key=lambda kept: kept.step, default=None)

    def count(self, key: Key) -> int:
        """How many copies of a session sleep."""
        return len(self._alive(key))

    def drop_checkpoints(self, key: Key, checkpoint_ids: Iterable[str]) -> None:
        """Let the copies of checkpoints leave that are gone."""
        gone = set(checkpoint_ids)
        for kept in self._alive(key):
            if kept.checkpoint_id in gone:
                kept.snapshot.close()

    def drop(self, key: Key) -> None:
        """Let all copies of a session leave."""
        for kept in self._kept.pop(key, []):
            kept.snapshot.close()

    def _alive(self, key: Key) -> list[Kept]:
        alive = [kept for kept in self._kept.get(key, []) if kept.snapshot.alive]
        if alive:
            self._kept[key] = alive
        else:
            self._kept.pop(key, None)
        return alive


def _changed_there(past: Past, kept: Kept) -> bool:
    """Whether anything that was applied at the very step of a copy is in it."""
    place = kept.snapshot.place
    journal_length = sum(entry.step < kept.step for entry in past.journal)
    return not kept.within(
        step=kept.step,
        journal_length=journal_length,
        planned_length=planned_before(past.spec, past.scene, place.step),
    )


def _recorded(past: Past, step: int) -> bool:
    """Whether every interval before the place is in the log: what is missing there would never be written."""
    interval_steps = max(1, past.spec.interval_steps)
    complete = max((event.step for event in past.recorded if event.HasField("interval_closed")), default=0)
    return step // interval_steps * interval_steps <= max(complete, past.begin_step)
