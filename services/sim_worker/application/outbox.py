"""What a child has produced and the log does not hold yet.

Records wait here un-numbered (log.md R1). While one batch is under way the next one gathers, so batches grow
by themselves when the broker is slow.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from milepost.event.v1.event_pb2 import IntervalClosed, RecoveryJudged, RunStarted, SessionRecovered, Verdict
from milepost.event.v1.record_pb2 import Record
from session_log.codec import SIMULATION_KINDS, kind_of, record
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.domain.judge import Diverged, Judge, Simulated

# How long intervals gather after an append, seconds, while the simulation closes them faster than that. An
# interval of a paced session finds nothing under way and leaves at once, and so does every other record.
LINGER_S = 0.2
# Most records in one append; half as many end the gathering, so that a small network never waits for the log.
MAX_BATCH_RECORDS = 64

_INTERVAL = kind_of(IntervalClosed)
_RUN_STARTED = kind_of(RunStarted)


class Outbox:
    """Judges what comes in, appends what is new, and tells the child how much is durable."""

    def __init__(self, attempt: AttemptLog, judge: Judge, durable: Callable[[int], Awaitable[None]]) -> None:
        """`durable(n)` is called with the count of intervals that are in the log, judged ones included."""
        self._attempt = attempt
        self._judge = judge
        self._durable = durable
        self._recovering = attempt.attempt > 1
        self._started = False
        self._pending: list[Record] = []
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._sending = asyncio.Lock()
        self._intervals = 0
        self._told = 0

    def put(self, item: Record) -> None:
        """Take a record. Raises Diverged when the log holds something else in its place."""
        if item.kind in SIMULATION_KINDS and self._judge.is_known(
            Simulated(item.kind, item.step, item.sim_time_s, item.payload)
        ):
            self._intervals += item.kind == _INTERVAL
        else:
            self._pending.append(item)
        self._started |= item.kind == _RUN_STARTED
        if self._recovering and self._started and not self._judge.deliberating:
            self._announce_recovery(item)
        self._arrived.set()
        if item.kind != _INTERVAL or len(self._pending) >= MAX_BATCH_RECORDS // 2:
            self._hurry.set()

    def judge_diverged(self, diverged: Diverged) -> None:
        """Put the verdict on an attempt that does not do what the log says."""
        self._recovering = False
        verdict = RecoveryJudged(
            verdict=Verdict.VERDICT_DIVERGED, intervals=self._intervals, diverged_step=diverged.step
        )
        self._pending.append(record(verdict, step=diverged.step))

    async def send(self) -> None:
        """Append until cancelled. Raises Fenced."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            self._hurry.clear()
            await self.flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._hurry.wait()

    async def flush(self) -> None:
        """Append everything that waits now. Raises Fenced."""
        async with self._sending:
            while self._pending:
                # Taken out first: an append goes through even when this call is cancelled meanwhile.
                batch, self._pending = self._pending[:MAX_BATCH_RECORDS], self._pending[MAX_BATCH_RECORDS:]
                await self._attempt.append(batch)
                self._intervals += sum(item.kind == _INTERVAL for item in batch)
            if self._intervals != self._told:
                self._told = self._intervals
                await self._durable(self._intervals)

    def _announce_recovery(self, item: Record) -> None:
        """Say, once and before anything new is simulated, that everything recorded came out equal."""
        self._recovering = False
        verdict = RecoveryJudged(verdict=Verdict.VERDICT_EXACT, intervals=self._intervals)
        self._pending += [
            record(payload, step=item.step, sim_time_s=item.sim_time_s) for payload in (verdict, SessionRecovered())
        ]
