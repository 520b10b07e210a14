"""Follow a child: its messages become records, its needs are met, until it ends or somebody decides otherwise.

child ─► receive ─► Outbox ─► log
log ─► Obey ─► child              (commands, in order; log.md R18)
clock ─► Checkpoints ─► log       (schedule, survival copies)
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.errors
import structlog
from nats.aio.client import Client
from prometheus_client import Counter

from milepost.child.v1.child_pb2 import Applied, FromChild, Interval, Refused, Started
from milepost.event.v1.event_pb2 import (
    CommandApplied,
    CommandRejected,
    IntervalClosed,
    LogLine,
    MilestoneReached,
    Paused,
    SessionCompleted,
    SessionFailed,
    StartKind,
)
from milepost.event.v1.frame_pb2 import Frame
from milepost.event.v1.record_pb2 import Record
from milepost.session.v1.session_pb2 import Failure, FailureReason
from runtime.blobs import Blobs
from runtime.broker import subject
from session_log.codec import kind_of, record
from sim_worker.application.failures import failure_of, failure_of_exit
from sim_worker.application.keep_artifacts import SUMO_LOG
from sim_worker.application.make_checkpoints import MakeCheckpoints
from sim_worker.application.obey import Obey
from sim_worker.application.outbox import Outbox
from sim_worker.application.outcomes import Died, Ended, NotLoaded, Outcome, Rebased
from sim_worker.application.run_started import run_started
from sim_worker.application.session import Session, Start
from sim_worker.application.snapshots import Snapshots
from sim_worker.application.trace_attempt import TraceAttempt
from sim_worker.child.framing import LINGERING
from sim_worker.gateways.child_process import Child, ChildExit, ChildGone, ChildRefused, ExitCause
from sim_worker.gateways.frame_interest import FrameInterests
from sim_worker.gateways.sumo_log import SumoLog, is_noteworthy

log = structlog.get_logger()
_simulated = Counter("milepost_simulated_seconds_total", "Simulated time, over all sessions")
_steps = Counter("milepost_simulated_steps_total", "Simulated steps, over all sessions")
_intervals = Counter("milepost_simulated_intervals_total", "Intervals closed, over all sessions")

# Lines of SUMO's that become events of one session; `sumo.log` holds all.
MAX_LOG_LINES = 200
# Of every state file that is loaded.
_STATE_TIME = "State was written at a different time"
# How often SUMO's messages and the wish for frames are looked at, seconds.
_LOOK_PERIOD_S = 0.5
# A copy was handed over before it is told of, seconds.
_HANDED_OVER_S = 10.0

_MILESTONE = kind_of(MilestoneReached)


@dataclass(frozen=True, slots=True)
class Tools:
    """What following a child needs of its worker."""

    broker: Client
    interests: FrameInterests
    snapshots: Snapshots
    blobs: Blobs
    worker_id: str
    libm_fingerprint: str


class FollowChild:
    """One child, once."""

    def __init__(
        self, tools: Tools, session: Session, child: Child, outbox: Outbox, start: Start, *, spans: TraceAttempt
    ) -> None:
        self._tools = tools
        self._spans = spans
        self._session = session
        self._child = child
        self._outbox = outbox
        self._start = start
        self._sumo_log = SumoLog(session.directory / SUMO_LOG)
        self._lines_left = MAX_LOG_LINES
        self._step = start.step
        self._sim_time_s = session.past.scene.begin_time_s
        self._stands = False
        self._frame_subject = subject(Frame, tenant=session.key[0], session=session.key[1])
        self._checkpoints = MakeCheckpoints(
            session,
            child,
            outbox,
            snapshots=tools.snapshots,
            blobs=tools.blobs,
            libm_fingerprint=tools.libm_fingerprint,
        )
        self._obey = Obey(session, child, outbox, self._checkpoints)
        self._rebase_due = asyncio.Event()

    async def __call__(self) -> Outcome:
        """What came of it. Raises, in a group, Fenced and Diverged."""
        if self._start.kind == StartKind.START_KIND_ORIGIN and self._session.scene is not None:
            self._outbox.put(record(self._session.scene.prepared))
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(), name="receive")
            beside = [
                tasks.create_task(self._outbox.send(), name="outbox"),
                tasks.create_task(self._look_around(), name="look around"),
                tasks.create_task(self._obey(), name="obey"),
                tasks.create_task(self._until_limit(), name="limit"),
                tasks.create_task(self._checkpoints.on_time(), name="checkpoints"),
                tasks.create_task(self._checkpoints.scheduled(), name="scheduled"),
                tasks.create_task(self._rebase(), name="rebase"),
            ]
            await asyncio.wait({receiving, self._obey.decided}, return_when=asyncio.FIRST_COMPLETED)
            for task in (receiving, *beside):
                task.cancel()
        return self._obey.decided.result() if self._obey.decided.done() else receiving.result()

    def collect_lines(self) -> None:
        """SUMO's new warnings and errors as events, as many as are still allowed."""
        if not self._lines_left:
            return
        read = self._sumo_log.read(max_lines=self._lines_left)
        noteworthy = [line for line in read.lines if is_noteworthy(line) and _STATE_TIME not in line]
        self._lines_left -= len(noteworthy)
        for number, line in enumerate(noteworthy):
            payload = LogLine(text=line, dropped=read.dropped if not number else 0)
            self._outbox.put(record(payload, step=self._step, sim_time_s=self._sim_time_s))

    async def _receive(self) -> Outcome:
        async with aclosing(self._child.messages()) as messages:
            async for message in messages:
                ended = await self._take(message)
                if ended is not None:
                    return ended
        return self._died(await self._child.exited())

    async def _take(self, message: FromChild) -> Ended | NotLoaded | None:
        """One message; how the simulation ended when it was the last."""
        match message.WhichOneof("message"):
            case "started":
                self._started(message.started)
            case "woken":
                assert self._session.started is not None
                self._at(message.woken.step, message.woken.sim_time_s)
                self._started(self._session.started)
            case "interval":
                self._interval(message.interval)
            case "told":
                told = message.told
                self._outbox.put(
                    Record(kind=told.kind, step=told.step, sim_time_s=told.sim_time_s, payload=told.payload)
                )
                if told.kind == _MILESTONE:
                    self._checkpoints.milestone()
            case "alive":
                self._at(message.alive.step, message.alive.sim_time_s)
            case "applied":
                self._applied(message.applied)
            case "refused":
                self._refused(message.refused)
            case "halted":
                self._at(message.halted.step, message.halted.sim_time_s)
                self._halted()
                self._stands = True
            case "rebase_due":
                self._at(message.rebase_due.step, message.rebase_due.sim_time_s)
                self._rebase_due.set()
            case "frame":
                await self._publish_frame(message.frame.frame)
            case "finished" | "failed":
                return await self._ended(message)
        return None

    async def _ended(self, message: FromChild) -> Ended | NotLoaded:
        """Its last message."""
        if message.HasField("finished"):
            done = message.finished
            if done.lingers:
                async with asyncio.timeout(_HANDED_OVER_S):
                    await asyncio.shield(self._child.lingering)
            return Ended(SessionCompleted(results=done.results), done.step, done.sim_time_s)
        failure = failure_of(message.failed, self._session.directory)
        if message.failed.loading and self._start.kind == StartKind.START_KIND_STATE_FILE:
            return NotLoaded(failure.message)
        return Ended(SessionFailed(failure=failure), self._step, self._sim_time_s)

    def _at(self, step: int, sim_time_s: float) -> None:
        self._stands &= step == self._step
        self._step, self._sim_time_s = step, sim_time_s
        self._checkpoints.at(step, sim_time_s)

    async def _rebase(self) -> None:
        """Once it stands there."""
        await self._rebase_due.wait()
        step = self._step
        try:
            self._obey.decide(Rebased(step, await self._checkpoints.rebase(step)))
        except ChildRefused as refused:
            self._obey.decide(Rebased(step, None, str(refused)))
        except ChildGone:
            return  # It is noticed where its messages end.

    def _started(self, started: Started) -> None:
        self._spans.started()
        self._session.started = started
        if self._session.left is not None and self._start.checkpoint is not None:
            self._session.left = None
            self._checkpoints.rebased(self._start.checkpoint)
        tools = self._tools
        payload = run_started(
            self._session, started, self._start, worker_id=tools.worker_id, libm_fingerprint=tools.libm_fingerprint
        )
        self._outbox.put(record(payload, sim_time_s=started.begin_time_s))

    def _interval(self, interval: Interval) -> None:
        self._spans.interval(interval.step)
        _simulated.inc(max(0.0, interval.sim_time_s - self._sim_time_s))
        _steps.inc(max(0, interval.step - self._step))
        _intervals.inc()
        self._at(interval.step, interval.sim_time_s)
        closed = record(IntervalClosed(), step=interval.step, sim_time_s=interval.sim_time_s)
        closed.payload = interval.payload
        self._outbox.put(closed)
        self._checkpoints.closed(interval)

    def _applied(self, applied: Applied) -> None:
        self._at(applied.step, applied.sim_time_s)
        self._checkpoints.applied(applied.command_id, applied.step)
        payload = CommandApplied(command_id=applied.command_id)
        self._outbox.put(record(payload, step=applied.step, sim_time_s=applied.sim_time_s))

    def _refused(self, refused: Refused) -> None:
        if refused.command_id == LINGERING:
            log.info("no copy stays", session=self._session.key[1], reason=refused.message)
            return
        payload = CommandRejected(command_id=refused.command_id, message=refused.message, field=refused.field)
        self._outbox.put(record(payload, step=refused.step, sim_time_s=refused.sim_time_s))

    def _halted(self) -> None:
        """Paused stands in the log once, also when it is an attempt after the other that stands there."""
        pacing = self._session.past.pacing
        if not (pacing.standing and pacing.hold_at_step == self._step):
            self._outbox.put(record(Paused(), step=self._step, sim_time_s=self._sim_time_s))

    async def _publish_frame(self, frame: bytes) -> None:
        try:
            await self._tools.broker.publish(self._frame_subject, frame)
        except nats.errors.Error:
            return  # Frames are lossy on purpose; the broker's absence is reported by those who must not lose.

    async def _look_around(self) -> None:
        """Turn SUMO's messages into events, and the wish for frames into a rate, until cancelled."""
        rate_hz = 0.0
        while True:
            await asyncio.sleep(_LOOK_PERIOD_S)
            self.collect_lines()
            wanted_hz = self._tools.interests.max_hz(*self._session.key)
            if wanted_hz != rate_hz:
                await self._child.frame_rate(wanted_hz)
                rate_hz = wanted_hz

    async def _until_limit(self) -> None:
        """The end of a run that takes longer than it may, whoever ran it before."""
        past = self._session.past
        if not (limit_s := past.spec.limits.wall_time_s):
            return
        begun = past.started_at or datetime.now(UTC)
        await asyncio.sleep(max(0.0, limit_s - (datetime.now(UTC) - begun).total_seconds()))
        reason, words = FailureReason.FAILURE_REASON_LIMIT_REACHED, f"it took more than {limit_s:g} s of wall time"
        failed = SessionFailed(failure=Failure(reason=reason, message=words))
        self._obey.decide(Ended(failed, self._step, self._sim_time_s))

    def _died(self, exited: ChildExit) -> Outcome:
        failure = failure_of_exit(exited, self._session.directory)
        if failure.reason == FailureReason.FAILURE_REASON_DISK_LIMIT:
            # It would write the same again.
            return Ended(SessionFailed(failure=failure), self._step, self._sim_time_s)
        # Standing where it was told to, it got as far as there is to get; what is too large while it stands would be
        # again.
        stood = self._stands and exited.cause in (None, ExitCause.ZYGOTE_LOST)
        return Died(failure, self._outbox.gained or stood, self._step, self._sim_time_s)
