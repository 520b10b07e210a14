"""What a child has produced and the log does not hold yet.

Records wait here un-numbered (log.md R1). While one batch is under way the next one gathers, so batches grow
by themselves when the broker is slow; how long they wait for more is a rule of the session's class (`gathering.py`).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import Counter

from milepost.event.v1.event_pb2 import (
    IntervalClosed,
    RecoveryJudged,
    RunStarted,
    SessionRecovered,
    Verdict,
)
from milepost.event.v1.record_pb2 import Record
from session_log.codec import SIMULATION_KINDS, kind_of, record
from session_log.domain.lifecycle import State
from session_log.writer import split
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.gathering import LIVE, Gathering
from sim_worker.application.session import Start
from sim_worker.domain.judge import Diverged, Judge, Simulated

_recoveries = Counter("milepost_recoveries_total", "Recoveries that the log has judged, by verdict", ["verdict"])
_again = Counter("milepost_intervals_again_total", "Intervals that recoveries computed again")

_INTERVAL = kind_of(IntervalClosed)
_RUN_STARTED = kind_of(RunStarted)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The part of a forked session's past that stands in its parent's log: simulated, never written."""

    step: int
    """Where the fork is, steps."""
    digest_step: int
    """The parent's last interval before it, steps."""
    state_digest: bytes
    """The digest of that interval."""

    def judge(self, item: Record) -> None:
        """Raises Diverged when the last interval came out differently."""
        if item.kind == _INTERVAL and item.step == self.digest_step and self.state_digest:
            computed = IntervalClosed.FromString(item.payload).state_digest
            if computed != self.state_digest:
                raise Diverged(Simulated(item.kind, item.step, item.sim_time_s, item.payload), equal_records=0)


class Outbox:
    """Judges what comes in, appends what is new, and tells the child how much is durable."""

    def __init__(
        self,
        attempt: AttemptLog,
        judge: Judge,
        durable: Callable[[int], Awaitable[None]],
        gathering: Gathering = LIVE,
        *,
        start: Start | None = None,
        exact: bool = True,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`durable(step)` is called with the step up to which intervals are in the log.

        `exact`: what the log holds is computed again in the very way it was computed first.
        """
        start = start or Start()
        self.gained = False
        """Whether an interval of this attempt is in the log."""
        self._attempt = attempt
        self._judge = judge
        self._durable = durable
        self._gathering = gathering
        self._start, self._exact = start.first, exact
        self._elsewhere = elsewhere
        self._recovering = attempt.life.state is State.RECOVERING
        self._to_judge = judge.deliberating
        self._announced = False
        self._started = False
        self._pending: list[Record] = []
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._sending = asyncio.Lock()
        self._judged_intervals = start.judged
        self._durable_step = start.step
        self._told = start.step

    @property
    def judged(self) -> int:
        """Intervals of the log that were computed again, over all stretches."""
        return self._judged_intervals

    @property
    def judging(self) -> bool:
        """Whether the log still holds more than was computed again."""
        return self._judge.deliberating

    def put(self, item: Record) -> None:
        """Take a record. Raises Diverged when the log holds something else in its place."""
        if item.kind in SIMULATION_KINDS and self._known(item):
            if item.kind == _INTERVAL:
                self._durable_step = item.step
        else:
            self._pending.append(item)
        self._started |= item.kind == _RUN_STARTED
        if self._started and not self._announced and not self._judge.deliberating:
            self._announce(item)
        self._arrived.set()
        if item.kind not in self._gathering.patient or len(self._pending) >= self._gathering.records // 2:
            self._hurry.set()

    def judge_diverged(self, diverged: Diverged, difference: str) -> None:
        """Put the verdict on an attempt that does not do what the log says, and nothing of it."""
        self._announced = True
        self._pending.clear()
        verdict = self._verdict(Verdict.VERDICT_DIVERGED)
        verdict.diverged_step, verdict.difference = diverged.step, difference
        self._pending.append(record(verdict, step=diverged.step))

    async def send(self) -> None:
        """Append until cancelled. Raises Fenced."""
        prompt = self._gathering.prompt
        while True:
            await self._arrived.wait()
            if not prompt:
                await self._gather()
            self._arrived.clear()
            self._hurry.clear()
            before = self._durable_step
            await self.flush()
            # Where no interval has left, the first one that comes is not kept waiting.
            if prompt and self._durable_step != before:
                await self._gather()

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._gathering.wait_s):
                await self._hurry.wait()

    async def flush(self) -> None:
        """Append everything that waits now, and not what comes meanwhile: that gathers. Raises Fenced."""
        async with self._sending:
            waiting = len(self._pending)
            while waiting > 0 and self._pending:
                # Taken out first, a message at a time: its append goes through even when this call is cancelled
                # meanwhile, and what is left waits here for the next one.
                batch = split(self._pending[: self._gathering.records])[0]
                del self._pending[: len(batch)]
                waiting -= len(batch)
                steps = [item.step for item in batch if item.kind == _INTERVAL]
                self.gained |= bool(steps)
                await self._attempt.append(batch)
                self._durable_step = max([self._durable_step, *steps])
            if self._durable_step != self._told:
                self._told = self._durable_step
                await self._durable(self._told)

    def take(self) -> list[Record]:
        """What waits still: whoever ends the session appends it with its end."""
        taken, self._pending = self._pending, []
        return taken

    def _known(self, item: Record) -> bool:
        """Whether it needs no writing: another log holds it, or this one does."""
        if self._elsewhere is not None and item.step <= self._elsewhere.step:
            self._elsewhere.judge(item)
            return True
        if self._judge.is_known(Simulated(item.kind, item.step, item.sim_time_s, item.payload)):
            self._judged_intervals += item.kind == _INTERVAL
            return True
        return False

    def _announce(self, item: Record) -> None:
        """Say, once and before anything new is simulated, that everything recorded came out equal."""
        self._announced = True
        if self._to_judge or self._recovering:
            self._insert(item, self._verdict(Verdict.VERDICT_EXACT if self._exact else Verdict.VERDICT_AGREED))
        if self._recovering:
            self._insert(item, SessionRecovered())

    def _insert(self, item: Record, payload: RecoveryJudged | SessionRecovered) -> None:
        self._hurry.set()
        self._pending.append(record(payload, step=item.step, sim_time_s=item.sim_time_s))

    def _verdict(self, verdict: Verdict.ValueType) -> RecoveryJudged:
        _recoveries.labels(Verdict.Name(verdict).removeprefix("VERDICT_").lower()).inc()
        _again.inc(self._judged_intervals)
        return RecoveryJudged(
            verdict=verdict,
            intervals=self._judged_intervals,
            start=self._start.kind,
            start_step=self._start.step,
        )
