"""The loop of a session: load, step, tell, end — as the bare `sumo` binary would with the same arguments.

start ─► Started ─► [ messages ─► step ─► interval due? ─► run ahead too far? wait ] ─► Finished
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from milepost.child.v1.child_pb2 import Alive, Finished, FrameMade, FromChild, Interval, Plan, Started, ToChild
from milepost.event.v1.event_pb2 import IntervalClosed
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import CompletionReason, Results
from sim_worker.child.engine import Engine
from sim_worker.child.final_statistics import final_kpis, with_statistics
from sim_worker.child.observe import chained_digest, frame_of, goal_value, kpis_of
from sim_worker.child.worker_link import WorkerLink

# The worker hears something at least this often unless a single step takes longer, seconds.
ALIVE_PERIOD_S: Final = 0.5
# How long SUMO steps without coming back, seconds: coming back costs small networks 2 %, and a command waits as
# long as this, or for one step.
_STRIDE_S: Final = 0.01
# Between two looks at the worker's messages and at what is due, seconds: a look at every step would cost small
# networks 2 %.
_LOOK_PERIOD_S: Final = 0.005
# SUMO counts time in milliseconds.
_MS_PER_S: Final = 1000
# Environment that takes part in the result (sumo.md, "libm").
_RESULT_ENVIRONMENT: Final = ("GLIBC_TUNABLES",)

Reason: TypeAlias = CompletionReason.ValueType


class SessionLoop:
    """One session from its plan to its end. Raises what the engine raises, and WorkerGone."""

    def __init__(
        self, plan: Plan, engine: Engine, link: WorkerLink, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.step = 0
        self.sim_time_s = 0.0
        self.loading = True
        self._plan = plan
        self._engine = engine
        self._link = link
        self._monotonic = monotonic
        self._arguments, self._statistics = with_statistics(plan.arguments)
        self._end_ms = round(plan.end_time_s * _MS_PER_S) if plan.HasField("end_time_s") else None
        # With less than one the next interval would never begin.
        self._run_ahead = max(1, plan.run_ahead_intervals)
        self._ends_when_empty = self._end_ms is None or plan.stop_when_empty
        self._stride_steps = 1
        self._closed_step = 0
        self._intervals = 0
        self._durable = 0
        self._digest = b""
        self._kpis = Kpis()
        self._stopping = False
        self._frame_period_s = 0.0
        self._frame_due = 0.0
        self._alive_due = 0.0
        self._look_due = 0.0

    def run(self) -> None:
        """Until the end; every output is complete and Finished is sent when it returns."""
        self._start()
        reason = self._simulate()
        self._engine.close()
        self._kpis = final_kpis(self._statistics, self._kpis)
        results = Results(
            reason=reason,
            steps=self.step,
            sim_time_s=self.sim_time_s,
            kpis=self._kpis,
            state_digest=self._digest,
        )
        self._link.send(FromChild(finished=Finished(step=self.step, sim_time_s=self.sim_time_s, results=results)))

    def _start(self) -> None:
        clock = self._engine.start(self._arguments)
        self.loading = False
        self.sim_time_s = clock.begin_time_s
        self._begin_ms = round(clock.begin_time_s * _MS_PER_S)
        self._step_ms = round(clock.step_length_s * _MS_PER_S)
        started = Started(
            begin_time_s=clock.begin_time_s,
            step_length_s=clock.step_length_s,
            sumo_version=clock.sumo_version,
            arguments=self._plan.arguments,
            environment=[f"{name}={os.environ[name]}" for name in _RESULT_ENVIRONMENT if name in os.environ],
            processor=_processor(),
        )
        self._tell(FromChild(started=started))

    def _simulate(self) -> Reason:
        """Step to the first reason to end; the last interval is closed there, be it shorter than others."""
        while True:
            if self._monotonic() >= self._look_due:
                self._look()
            if self._stopping:
                if self._closed_step < self.step:
                    self._close_interval()
                return CompletionReason.COMPLETION_REASON_TERMINATED
            self._stride()
            reason = self._ended()
            if reason is not None or self.step - self._closed_step == self._plan.interval_steps:
                self._close_interval()
                if reason is None and self._reached_goal():
                    reason = CompletionReason.COMPLETION_REASON_KPI_GOAL
            if reason is not None:
                return reason
            self._wait_for_the_log()

    def _stride(self) -> None:
        """As many steps at once as may be taken without missing anything and without staying away too long."""
        steps = 1 if self._ends_when_empty else min(self._stride_steps, self._steps_left())
        began = self._monotonic()
        time_s = (self._begin_ms + (self.step + steps) * self._step_ms) / _MS_PER_S
        self._engine.step_to(time_s)
        self.step += steps
        self.sim_time_s = time_s
        took_s = self._monotonic() - began
        self._stride_steps = max(1, min(2 * steps, int(_STRIDE_S * steps / took_s))) if took_s else 2 * steps

    def _steps_left(self) -> int:
        """Steps to the end of the interval, or to that of the simulation if it comes first."""
        left = self._plan.interval_steps - (self.step - self._closed_step)
        if self._end_ms is None:
            return left
        to_end = -(-(self._end_ms - self._begin_ms) // self._step_ms) - self.step
        return max(1, min(left, to_end))

    def _ended(self) -> Reason | None:
        """What MSNet::simulationState says: the end time if there is one, an empty network otherwise."""
        if self._end_ms is not None and self._begin_ms + self.step * self._step_ms >= self._end_ms:
            return CompletionReason.COMPLETION_REASON_END_TIME
        if self._ends_when_empty and not self._engine.expected():
            return CompletionReason.COMPLETION_REASON_NETWORK_EMPTY
        return None

    def _close_interval(self) -> None:
        state = self._engine.state()
        self._kpis = kpis_of(self._engine, state)
        self._digest = chained_digest(self._digest, state)
        self._closed_step = self.step
        self._intervals += 1
        closed = IntervalClosed(kpis=self._kpis, state_digest=self._digest).SerializeToString()
        self._tell(FromChild(interval=Interval(step=self.step, sim_time_s=self.sim_time_s, payload=closed)))

    def _reached_goal(self) -> bool:
        plan = self._plan
        return plan.HasField("goal") and goal_value(self._kpis, plan.goal.kpi) >= plan.goal.at_least

    def _look(self, *, wait_s: float = 0.0) -> None:
        """Take what the worker says, tell it what is due."""
        self._take(self._link.receive(wait_s=wait_s))
        now = self._monotonic()
        self._look_due = now + _LOOK_PERIOD_S
        if now >= self._alive_due:
            self._tell(FromChild(alive=Alive(step=self.step, sim_time_s=self.sim_time_s)))
        if self._frame_period_s and now >= self._frame_due:
            self._frame_due = now + self._frame_period_s
            frame = frame_of(self._engine, step=self.step, sim_time_s=self.sim_time_s)
            self._tell(FromChild(frame=FrameMade(frame=frame.SerializeToString())))

    def _wait_for_the_log(self) -> None:
        """Not further ahead of what is durable than the plan allows."""
        while self._intervals - self._durable >= self._run_ahead and not self._stopping:
            self._look(wait_s=ALIVE_PERIOD_S)

    def _tell(self, message: FromChild) -> None:
        self._link.send(message)
        self._alive_due = self._monotonic() + ALIVE_PERIOD_S

    def _take(self, messages: list[ToChild]) -> None:
        for message in messages:
            match message.WhichOneof("message"):
                case "durable":
                    self._durable = message.durable.intervals
                case "frame_rate":
                    hz = message.frame_rate.max_hz
                    self._frame_period_s = 1.0 / hz if hz > 0 else 0.0
                case "stop":
                    self._stopping = True


def _processor() -> str:
    """Model of the processor; empty where the kernel does not say."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""
