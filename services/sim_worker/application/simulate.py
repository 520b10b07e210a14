"""Simulate: a child process steps SUMO, its records go to the judge and then to the log.

The child never runs further than `RUN_AHEAD_INTERVALS` ahead of what is durable, so a broker that is slow or
away slows the simulation, and the outbox stays small by itself.
"""

import asyncio
import signal
from contextlib import aclosing
from dataclasses import dataclass

import nats.errors
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client
from prometheus_client import Counter

from milepost.child.v1.child_pb2 import Failed, FromChild, Plan
from milepost.event.v1.event_pb2 import (
    IntervalClosed,
    LogLine,
    RunStarted,
    SessionCompleted,
    SessionCreated,
    SessionFailed,
)
from milepost.event.v1.frame_pb2 import Frame
from milepost.session.v1.session_pb2 import Execution, Failure, FailureReason
from runtime.broker import subject
from session_log.codec import kind_of, record
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.keep_artifacts import SUMO_LOG
from sim_worker.application.outbox import Outbox
from sim_worker.application.prepare_scene import Scene
from sim_worker.domain.judge import Diverged, Judge
from sim_worker.gateways.child_process import Child, ChildExit, ChildLimits, ExitCause
from sim_worker.gateways.frame_interest import FrameInterests
from sim_worker.gateways.sumo_log import SumoLog, last_words
from sim_worker.gateways.zygote import Zygote

log = structlog.get_logger()
_steps = Counter("milepost_simulated_seconds_total", "Simulated time, over all sessions")

# How many intervals a child may be ahead of what is durable (log.md R1).
RUN_AHEAD_INTERVALS = 64
# Lines of SUMO's that become events of one session; `sumo.log` holds all.
MAX_LOG_LINES = 200
_NOTEWORTHY = ("Warning", "Error")
# How often SUMO's messages and the wish for frames are looked at, seconds.
_LOOK_PERIOD_S = 0.5
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is to be simulated, and for which log."""

    attempt: AttemptLog
    created: SessionCreated
    scene: Scene
    judge: Judge


@dataclass(frozen=True, slots=True)
class Ended:
    """How a simulation ended: a terminal event and where."""

    terminal: Message
    step: int = 0
    sim_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """A worker's limits for the processes of its sessions."""

    memory_limit_mib: int
    file_size_limit_mib: int
    init_timeout_s: float
    stall_timeout_s: float
    niceness: int


@dataclass(frozen=True, slots=True)
class Simulate:
    """Runs one child to its end."""

    zygote: Zygote
    limits: Limits
    broker: Client
    interests: FrameInterests
    worker_id: str

    async def __call__(self, simulation: Simulation) -> Ended:
        """How it ended, everything before the end being in the log. Cancelling kills the child. Raises Fenced."""
        child = await self.zygote.launch(
            self._plan(simulation), simulation.scene.directory, self._child_limits(simulation.created)
        )
        run = _Run(self, simulation, child)
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(run.outbox.send(), name="outbox"),
                    tasks.create_task(run.look_around(), name="look around"),
                ]
                ended = await run.receive()
                for task in beside:
                    task.cancel()
        except* Diverged as group:
            diverged = group.exceptions[0]
            assert isinstance(diverged, Diverged)
            ended = await run.diverged(diverged)
        finally:
            child.kill()
            await asyncio.shield(child.exited())
            child.close()
        run.collect_lines()
        await run.outbox.flush()
        return ended

    def _plan(self, simulation: Simulation) -> Plan:
        spec, scene = simulation.created.spec, simulation.created.scene
        plan = Plan(
            engine=spec.engine,
            arguments=simulation.scene.arguments,
            interval_steps=spec.interval_steps,
            stop_when_empty=spec.stop_when_empty,
            run_ahead_intervals=RUN_AHEAD_INTERVALS,
            file_size_limit_bytes=self.limits.file_size_limit_mib * _MIB,
            niceness=self.limits.niceness,
        )
        if scene.HasField("end_time_s"):
            plan.end_time_s = scene.end_time_s
        if spec.HasField("goal"):
            plan.goal.CopyFrom(spec.goal)
        return plan

    def _child_limits(self, created: SessionCreated) -> ChildLimits:
        return ChildLimits(
            init_timeout_s=self.limits.init_timeout_s,
            stall_timeout_s=self.limits.stall_timeout_s,
            memory_limit_bytes=(created.spec.memory_limit_mib or self.limits.memory_limit_mib) * _MIB,
        )


class _Run:
    """One child's messages on their way to the log."""

    def __init__(self, use_case: Simulate, simulation: Simulation, child: Child) -> None:
        self.outbox = Outbox(simulation.attempt, simulation.judge, child.durable)
        self._use_case = use_case
        self._simulation = simulation
        self._child = child
        self._sumo_log = SumoLog(simulation.scene.directory / SUMO_LOG)
        self._lines_left = MAX_LOG_LINES
        self._step = 0
        self._sim_time_s = simulation.created.scene.begin_time_s
        attempt = simulation.attempt
        self._frame_subject = subject(Frame, tenant=attempt.tenant, session=attempt.session_id)

    async def receive(self) -> Ended:
        """Take the child's messages until it is gone. Raises Diverged."""
        self.outbox.put(record(self._simulation.scene.prepared))
        async with aclosing(self._child.messages()) as messages:
            async for message in messages:
                ended = await self._take(message)
                if ended is not None:
                    return ended
        return self._died(await self._child.exited())

    async def _take(self, message: FromChild) -> Ended | None:
        """One message; how the simulation ended when it was the last."""
        match message.WhichOneof("message"):
            case "started":
                self._started(message)
            case "interval":
                self._interval(message)
            case "frame":
                await self._publish_frame(message.frame.frame)
            case "finished":
                done = message.finished
                await self.outbox.flush()
                return Ended(SessionCompleted(results=done.results), done.step, done.sim_time_s)
            case "failed":
                return self._failed(_reason(message.failed), message.failed.message)
        return None

    def _started(self, message: FromChild) -> None:
        started = message.started
        execution = Execution(
            sumo_version=started.sumo_version,
            libm_fingerprint=self._use_case.zygote.ready.libm_fingerprint,
            arguments=started.arguments,
            environment=started.environment,
            engine=self._simulation.created.spec.engine,
            processor=started.processor,
            worker_id=self._use_case.worker_id,
        )
        payload = RunStarted(
            execution=execution, begin_time_s=started.begin_time_s, step_length_s=started.step_length_s
        )
        self.outbox.put(record(payload, sim_time_s=started.begin_time_s))

    def _interval(self, message: FromChild) -> None:
        interval = message.interval
        _steps.inc(max(0.0, interval.sim_time_s - self._sim_time_s))
        self._step, self._sim_time_s = interval.step, interval.sim_time_s
        closed = record(IntervalClosed(), step=interval.step, sim_time_s=interval.sim_time_s)
        closed.payload = interval.payload
        assert closed.kind == kind_of(IntervalClosed)
        self.outbox.put(closed)

    async def _publish_frame(self, frame: bytes) -> None:
        try:
            await self._use_case.broker.publish(self._frame_subject, frame)
        except nats.errors.Error:
            return  # Frames are lossy on purpose; the broker's absence is reported by those who must not lose.

    async def look_around(self) -> None:
        """Turn SUMO's messages into events, and the wish for frames into a rate, until cancelled."""
        attempt, rate_hz = self._simulation.attempt, 0.0
        while True:
            await asyncio.sleep(_LOOK_PERIOD_S)
            self.collect_lines()
            wanted_hz = self._use_case.interests.max_hz(attempt.tenant, attempt.session_id)
            if wanted_hz != rate_hz:
                await self._child.frame_rate(wanted_hz)
                rate_hz = wanted_hz

    def collect_lines(self) -> None:
        """SUMO's new warnings and errors as events, as many as are still allowed."""
        if not self._lines_left:
            return
        read = self._sumo_log.read(max_lines=self._lines_left)
        noteworthy = [line for line in read.lines if line.startswith(_NOTEWORTHY)]
        self._lines_left -= len(noteworthy)
        for number, line in enumerate(noteworthy):
            payload = LogLine(text=line, dropped=read.dropped if not number else 0)
            self.outbox.put(record(payload, step=self._step, sim_time_s=self._sim_time_s))

    async def diverged(self, diverged: Diverged) -> Ended:
        """The log's verdict on an attempt that computed something else."""
        self.outbox.judge_diverged(diverged)
        return self._failed(
            FailureReason.FAILURE_REASON_DIVERGED, f"the new attempt differs from the log at step {diverged.step}"
        )

    def _died(self, exited: ChildExit) -> Ended:
        reasons = {
            ExitCause.INIT_TIMEOUT: FailureReason.FAILURE_REASON_INIT_TIMEOUT,
            ExitCause.STALLED: FailureReason.FAILURE_REASON_STALLED,
            ExitCause.MEMORY_LIMIT: FailureReason.FAILURE_REASON_MEMORY_LIMIT,
        }
        if exited.exit_code == -signal.SIGXFSZ:
            reason = FailureReason.FAILURE_REASON_DISK_LIMIT
        elif exited.cause is None:
            reason = FailureReason.FAILURE_REASON_CHILD_DIED
        else:
            reason = reasons.get(exited.cause, FailureReason.FAILURE_REASON_CHILD_DIED)
        name = FailureReason.Name(reason).removeprefix("FAILURE_REASON_")
        return self._failed(reason, f"{name}: the process that ran SUMO ended with {exited.exit_code}")

    def _failed(self, reason: FailureReason.ValueType, message: str) -> Ended:
        words = last_words(self._simulation.scene.directory / SUMO_LOG)
        failure = Failure(
            reason=reason,
            message=words.message or message,
            last_words=words.lines,
            file=words.file,
            line=words.line,
        )
        return Ended(SessionFailed(failure=failure), self._step, self._sim_time_s)


def _reason(failed: Failed) -> FailureReason.ValueType:
    if failed.engine_unavailable:
        return FailureReason.FAILURE_REASON_ENGINE_UNAVAILABLE
    if failed.loading:
        return FailureReason.FAILURE_REASON_SCENARIO_INVALID
    return FailureReason.FAILURE_REASON_SIMULATION_ERROR
