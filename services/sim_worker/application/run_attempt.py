"""Run a session from the claim to its end, one attempt after the other.

    claim ─► past ─► start ─► Simulate ─► Ended      results, artifacts, the order goes
      ▲                          ├──────► Suspended  the slot is free, the order goes
      │                          └──────► SIGTERM: HandedOver, another worker claims
      └──── claimed again ◄── Died · Differed · RolledBack

A child that died is a new attempt of the same worker (log.md R2); the third in a row that died without getting
any further parks the session as POISONED (R10).
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from nats.js import JetStreamContext
from prometheus_client import Counter

from milepost.event.v1.event_pb2 import (
    ClaimReason,
    CommandApplied,
    ExactnessBroken,
    HandedOver,
    SessionFailed,
    StartKind,
)
from milepost.session.v1.session_pb2 import Failure, FailureReason
from runtime import traces
from runtime.process import cancel
from session_log.broker_log import last_span
from session_log.codec import record
from session_log.domain.lifecycle import State
from session_log.reader import LogReader, LogSoFar
from sim_worker.application.attempt_log import AttemptLog, Fenced
from sim_worker.application.choose_start import ChooseStart
from sim_worker.application.end_session import EndSession
from sim_worker.application.fetch_past import FetchPast
from sim_worker.application.lease import Lease
from sim_worker.application.look_out import LookOut
from sim_worker.application.outcomes import Died, Differed, Ended, NotLoaded, Outcome, Rebased, RolledBack, Suspended
from sim_worker.application.prepare_scene import SceneFailed
from sim_worker.application.rebase import Rebase
from sim_worker.application.session import Key, Session, Start
from sim_worker.application.simulate import Simulate
from sim_worker.application.snapshots import Snapshots
from sim_worker.gateways.child_process import ChildGone, ChildRefused
from sim_worker.gateways.zygote import ZygoteFailed

log = structlog.get_logger()
_attempts = Counter("milepost_attempts_total", "Processes that simulated, by what came of it", ["outcome"])

# Attempts in a row that may die without getting any further.
MAX_FRUITLESS = 3
# Between two tries to remove a directory, seconds.
_REMOVE_AGAIN_S = (0.05, 0.2, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class RunAttempt:
    """Everything a session needs to be run; one instance serves all sessions of the worker."""

    js: JetStreamContext
    reader: LogReader
    fetch_past: FetchPast
    choose_start: ChooseStart
    rebase: Rebase
    simulate: Simulate
    end: EndSession
    look_out: LookOut
    snapshots: Snapshots
    sessions_folder: Path
    worker_id: str
    stopping: asyncio.Event

    async def __call__(
        self,
        key: Key,
        so_far: LogSoFar,
        lease: Lease,
        *,
        because: ClaimReason.ValueType,
        claimed: Callable[[AttemptLog], None],
        over: Callable[[], None],
    ) -> None:
        """Run until it ends, is suspended, handed over or fenced.

        Calls `claimed` after every claim, and `over` when it needs no process any more and is about to end.
        """
        attempt = AttemptLog(self.js, *key, so_far)
        before = await last_span(self.js, *key) if so_far.life.attempt else ""
        directory = self.sessions_folder / f"{key[0]}.{key[1]}.{attempt.attempt}"
        try:
            await attempt.claim(self.worker_id, because, fruitless=await self._fruitless(key, so_far, because))
            claimed(attempt)
            async with self.look_out.beside(attempt, lease) as look_out:
                work = asyncio.create_task(
                    self._run(Session(attempt, directory, before), lease, claimed, over), name=f"run {key[1]}"
                )
                try:
                    # The look-out ends only by finding that the session is not ours any more.
                    await asyncio.wait({work, look_out}, return_when=asyncio.FIRST_COMPLETED)
                    await (work if work.done() else look_out)
                finally:
                    await cancel(work)
        except Fenced:
            log.info("attempt gave way", session=key[1], attempt=attempt.attempt)
        finally:
            self.snapshots.drop(key)
            await asyncio.to_thread(_remove, directory)

    async def _fruitless(self, key: Key, so_far: LogSoFar, because: ClaimReason.ValueType) -> int:
        """Attempts in a row, up to this claim, that died without getting any further (R10)."""
        life = so_far.life
        if because != ClaimReason.CLAIM_REASON_WORKER_LOST or life.new_run:
            return 0
        if await self.reader.gained(*key, after_seq=life.claim_seq):
            return 0
        # Standing where it was told to, it got as far as there is to get.
        stood = life.state is State.RUNNING and (await self.reader.read_past(*key)).pacing.standing
        return 0 if stood else life.fruitless + 1

    async def _run(
        self, session: Session, lease: Lease, claimed: Callable[[AttemptLog], None], over: Callable[[], None]
    ) -> None:
        try:
            ended = await self._attempts(session, lease, claimed)
        except SceneFailed as error:
            ended = Ended(SessionFailed(failure=error.failure))
        except Fenced:
            raise
        except Exception as error:
            # A defect must cost its own session only, and must not be tried for ever: it ends the session.
            log.exception("attempt failed", session=session.attempt.session_id)
            failure = Failure(reason=FailureReason.FAILURE_REASON_INTERNAL, message=repr(error))
            ended = Ended(SessionFailed(failure=failure))
        if ended is not None:
            over()
            await self.end(session, ended)
            await lease.done()

    async def _attempts(self, session: Session, lease: Lease, claimed: Callable[[AttemptLog], None]) -> Ended | None:
        """How it ended; None when it was suspended or handed over."""
        attempt = session.attempt
        rejected: set[str] = set()
        following: Start | None = None
        if attempt.life.fruitless >= MAX_FRUITLESS:
            return _poisoned(Failure(message="its workers vanished"))
        while True:
            session.past, session.fork_past = await self.fetch_past(attempt)
            start, following = following or await self.choose_start(session, rejected), None
            outcome = await self._unless_stopping(session, start)
            match outcome:
                case Rebased():
                    following = await self.rebase(session, start, outcome)
                    continue
                case NotLoaded() | Died() if session.left is not None:
                    following = await self.rebase.not_begun(session, start, outcome)
                    continue
                case Ended():
                    return outcome
                case None:
                    await attempt.append([record(HandedOver())])
                    await lease.release()
                    return None
                case Suspended(command_id):
                    await self.end.suspend(session, command_id)
                    await lease.done()
                    return None
                case RolledBack():
                    again: _Again | Ended = await self._roll_back(session, outcome, rejected)
                case Died():
                    again = await self._after_death(session, start, outcome, rejected)
                case Differed() | NotLoaded():
                    again = await self._after_difference(session, start, outcome, rejected)
            if isinstance(again, Ended):
                return again
            await attempt.claim(self.worker_id, again.because, fruitless=again.fruitless)
            claimed(attempt)

    async def _roll_back(self, session: Session, outcome: RolledBack, rejected: set[str]) -> "_Again":
        opened, applied = outcome.opened, CommandApplied(command_id=outcome.command_id)
        step, time_s = opened.step, opened.sim_time_s
        await session.attempt.append([record(payload, step=step, sim_time_s=time_s) for payload in (applied, opened)])
        rejected.clear()
        return _Again(ClaimReason.CLAIM_REASON_NEW_RUN)

    async def _after_death(self, session: Session, start: Start, outcome: Died, rejected: set[str]) -> "_Again | Ended":
        fruitless = 0 if outcome.gained else session.attempt.life.fruitless + 1
        if fruitless >= MAX_FRUITLESS:
            return _poisoned(outcome.failure, outcome.step, outcome.sim_time_s)
        if not outcome.gained and start.kind != StartKind.START_KIND_ORIGIN:
            rejected.add(start.name)
            await self.choose_start.reject(session, start, "DIED", outcome.failure.message)
        return _Again(ClaimReason.CLAIM_REASON_CHILD_DIED, fruitless)

    async def _after_difference(
        self, session: Session, start: Start, outcome: Differed | NotLoaded, rejected: set[str]
    ) -> "_Again | Ended":
        again = _Again(ClaimReason.CLAIM_REASON_DIVERGED, session.attempt.life.fruitless)
        if start.kind != StartKind.START_KIND_ORIGIN:
            rejected.add(start.name)
            differs = isinstance(outcome, Differed)
            words = outcome.difference if isinstance(outcome, Differed) else outcome.message
            await self.choose_start.reject(session, start, "DIVERGED" if differs else "NOT_LOADED", words)
            return again
        assert isinstance(outcome, Differed)
        if await self._tolerate(session, outcome):
            return again
        reason = FailureReason.FAILURE_REASON_DIVERGED
        return Ended(SessionFailed(failure=Failure(reason=reason, message=outcome.difference)), outcome.step)

    async def _unless_stopping(self, session: Session, start: Start) -> Outcome | None:
        """Simulate; None when this worker is to stop first."""
        running = asyncio.create_task(self._simulated(session, start), name=f"simulate {session.key[1]}")
        stopping = asyncio.create_task(self.stopping.wait(), name="stopping")
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else None
        finally:
            await cancel(running, stopping)

    async def _simulated(self, session: Session, start: Start) -> Outcome:
        number, name = session.attempt.attempt, session.attempt.session_id
        with traces.span("session.attempt", links=[session.trace], session_id=name, attempt=number) as span:
            session.trace = traces.current()
            try:
                outcome = await self.simulate(session, start)
            except (ZygoteFailed, ChildGone, ChildRefused) as error:
                reason = FailureReason.FAILURE_REASON_CHILD_DIED
                outcome = Died(Failure(reason=reason, message=str(error) or repr(error)), gained=False)
            _attempts.labels(type(outcome).__name__.lower()).inc()
            span.set_attribute("milepost.outcome", type(outcome).__name__)
            return outcome

    async def _tolerate(self, session: Session, outcome: Differed) -> bool:
        """Whether the session was told to go on though it differs from its own past; then it says so."""
        if not session.past.spec.tolerate_divergence or session.tolerant:
            return False
        session.tolerant = True
        broken = ExactnessBroken(step=outcome.step, difference=outcome.difference)
        await session.attempt.append([record(broken, step=outcome.step)])
        return True


def _remove(directory: Path) -> None:
    """A copy that still writes a state file can put something into a folder that was just emptied."""
    for wait_s in _REMOVE_AGAIN_S:
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(wait_s)
    log.warning("a session's directory stays", directory=directory.name)


@dataclass(frozen=True, slots=True)
class _Again:
    """The same worker claims once more."""

    because: ClaimReason.ValueType
    fruitless: int = 0


def _poisoned(last: Failure, step: int = 0, sim_time_s: float = 0.0) -> Ended:
    failure = Failure()
    failure.CopyFrom(last)
    failure.reason = FailureReason.FAILURE_REASON_POISONED
    failure.message = f"{MAX_FRUITLESS} attempts in a row died without getting any further; the last: {last.message}"
    return Ended(SessionFailed(failure=failure), step, sim_time_s)
