"""Copies that stay when their sessions have ended, so that forks from the ends begin at once (SessionSpec.linger_s).

    stay ─► sleeps ─► taken ─► woken for a fork, another copy left in its place ─► sleeps …
              └────────┴── its time is over, too many, or too little memory: it leaves

They need no slot and no directory: what they have open for writing stays theirs when the files are gone.
"""

import asyncio
from dataclasses import dataclass, field, replace

import structlog
from prometheus_client import Gauge

from sim_worker.application.snapshots import Kept, Key
from sim_worker.gateways.child_process import ChildGone
from sim_worker.gateways.snapshot import Snapshot

log = structlog.get_logger()
_copies = Gauge("milepost_worker_lingering_copies", "Sleeping copies of sessions that have ended")


@dataclass(eq=False, slots=True)
class Stay:
    """One copy after the other of one session's end."""

    kept: Kept
    timer: asyncio.TimerHandle | None = None
    waking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from the moment a copy is taken until the next one sleeps in its place."""
    over: bool = False


@dataclass(slots=True)
class Lingering:
    """Those of one worker, at most one of each session, the oldest first."""

    max_copies: int
    _stays: dict[Key, Stay] = field(default_factory=dict)

    def stay(self, key: Key, kept: Kept, *, for_s: float) -> None:
        """Keep a copy for so long; the oldest leaves when there are too many."""
        self._leave(key)
        stay = self._stays[key] = Stay(kept)
        stay.timer = asyncio.get_running_loop().call_later(for_s, self._end, key, stay)
        while len(self._stays) > self.max_copies:
            self._leave(next(iter(self._stays)))
        _copies.set(len(self._stays))

    def find(self, key: Key, *, run: int, step: int, journal_length: int, planned_length: int) -> Kept | None:
        """The copy of a run, if it has not passed a place; it may be on its way back from being woken."""
        stay = self._stays.get(key)
        if stay is None or stay.kept.run != run:
            return None
        if not stay.waking.locked() and not stay.kept.snapshot.alive:
            self._leave(key)
            return None
        fits = stay.kept.within(step=step, journal_length=journal_length, planned_length=planned_length)
        return stay.kept if fits else None

    async def take(self, key: Key) -> Stay:
        """A copy to be woken and given back; whoever wants it too waits for that. Raises ChildGone."""
        stay = self._stays.get(key)
        if stay is None:
            raise ChildGone
        await stay.waking.acquire()
        if stay.over or not stay.kept.snapshot.alive:
            stay.waking.release()
            raise ChildGone
        return stay

    def give_back(self, key: Key, stay: Stay, snapshot: Snapshot | None) -> None:
        """What sleeps now in the place of the copy that was taken; None: nothing does."""
        stay.waking.release()
        if snapshot is not None:
            stay.kept = replace(stay.kept, snapshot=snapshot)
        if stay.over:
            # Its time came meanwhile.
            stay.kept.snapshot.close()
        elif snapshot is None:
            log.info("no copy was left behind", session=key[1])
            self._end(key, stay)

    def leave_all(self) -> int:
        """Let all leave; how many there were."""
        count = len(self._stays)
        for key in list(self._stays):
            self._leave(key)
        return count

    def _leave(self, key: Key) -> None:
        if (stay := self._stays.get(key)) is not None:
            self._end(key, stay)

    def _end(self, key: Key, stay: Stay) -> None:
        if self._stays.get(key) is stay:
            del self._stays[key]
        stay.over = True
        if stay.timer is not None:
            stay.timer.cancel()
        stay.kept.snapshot.close()
        _copies.set(len(self._stays))
