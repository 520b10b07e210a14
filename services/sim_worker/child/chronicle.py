"""What a simulation tells of itself, in an order that equal inputs repeat: intervals, milestones, phases.

At one step: IntervalClosed, MilestoneReached by rule, PhaseEnded, PhaseStarted.
"""

from collections.abc import Callable
from typing import Final

from google.protobuf.message import Message

from milepost.child.v1.child_pb2 import FromChild, Interval, Plan, Resumption, SnapshotPlace, Told
from milepost.event.v1.event_pb2 import EventKind, IntervalClosed, MilestoneReached, PhaseEnded, PhaseStarted
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import MilestoneRule
from sim_worker.child.engine import Engine
from sim_worker.child.grid import Grid
from sim_worker.child.kpi_sums import difference, resumed
from sim_worker.child.observe import chained_digest, goal_value, kpis_of

_KINDS: Final = {
    MilestoneReached: EventKind.EVENT_KIND_MILESTONE_REACHED,
    PhaseStarted: EventKind.EVENT_KIND_PHASE_STARTED,
    PhaseEnded: EventKind.EVENT_KIND_PHASE_ENDED,
}


class Chronicle:
    """Tells through `tell`. Everything here is part of the simulation: a copy of the process goes on with it."""

    def __init__(self, plan: Plan, engine: Engine, grid: Grid, tell: Callable[[FromChild], None]) -> None:
        self.closed_step = 0
        self.digest = b""
        self.kpis = Kpis()
        self._plan = plan
        self._engine = engine
        self._grid = grid
        self._tell = tell
        # KPIs at the state file, of which SUMO has forgotten a part.
        self._before: Kpis | None = None
        self._reached: set[int] = set()
        self._phase = -1
        self._phase_end_step = 0
        self._phase_kpis = Kpis()

    def begin(self) -> None:
        """Say what begins with the simulation."""
        self._start_phase(0)

    def resume(self, resumption: Resumption) -> None:
        """Go on behind a past that this process has not simulated."""
        self.closed_step = resumption.step - resumption.step % self._plan.interval_steps
        self.digest = resumption.state_digest
        self._before = resumption.kpis
        self.kpis = resumption.interval_kpis
        self._reached = set(resumption.milestones_reached)
        self._phase_kpis = resumption.phase_kpis
        while self._phase + 1 < len(self._plan.phases) and self._phase_end_step <= resumption.step:
            self._phase += 1
            self._phase_end_step = self._end_of(self._phase)

    def rebase(self, plan: Plan) -> None:
        """Go on with another plan from here."""
        self._plan = plan
        if 0 <= self._phase < len(plan.phases):
            self._phase_end_step = self._end_of(self._phase)

    def next_stop(self, step: int) -> int | None:
        """The next step at which a phase ends."""
        return self._phase_end_step if self._in_phase and self._phase_end_step > step else None

    def at(self, step: int, *, ended: bool) -> bool:
        """Tell what is due after a step; whether the session has reached its goal with it, which ends it too.

        At the end the last interval is closed, be it shorter than others.
        """
        reached = False
        if step - self.closed_step == self._plan.interval_steps or (ended and self.closed_step < step):
            self._close_interval(step)
            reached = self._reached_goal()
            ended = ended or reached
        if self._in_phase and (ended or step >= self._phase_end_step):
            self._end_phase(step)
            if not ended:
                self._start_phase(step)
        return reached

    def time_s(self, step: int) -> float:
        """Simulated time after so many steps."""
        return self._grid.time_s(step)

    def place(self, step: int) -> SnapshotPlace:
        """Where the simulation is, for somebody who wants to come back to it. Raises EngineFailed."""
        state = self._engine.state()
        kpis = kpis_of(self._engine, state)
        return SnapshotPlace(
            step=step,
            sim_time_s=self._grid.time_s(step),
            state_digest=chained_digest(self.digest, state),
            interval_digest=self.digest,
            kpis=kpis if self._before is None else resumed(self._before, kpis),
            milestones_reached=sorted(self._reached),
            phase_kpis=self._phase_kpis,
            interval_kpis=self.kpis,
        )

    @property
    def _in_phase(self) -> bool:
        return 0 <= self._phase < len(self._plan.phases)

    def _close_interval(self, step: int) -> None:
        state = self._engine.state()
        before, kpis = self.kpis, kpis_of(self._engine, state)
        self.kpis = kpis if self._before is None else resumed(self._before, kpis)
        self.digest = chained_digest(self.digest, state)
        self.closed_step = step
        closed = IntervalClosed(kpis=self.kpis, state_digest=self.digest).SerializeToString()
        self._tell(FromChild(interval=Interval(step=step, sim_time_s=self._grid.time_s(step), payload=closed)))
        for number, rule in enumerate(self._plan.milestones):
            self._look_for(number, rule, before, step)

    def _reached_goal(self) -> bool:
        plan = self._plan
        return plan.HasField("goal") and goal_value(self.kpis, plan.goal.kpi) >= plan.goal.at_least

    def _look_for(self, number: int, rule: MilestoneRule, before: Kpis, step: int) -> None:
        kpis = self.kpis
        match rule.WhichOneof("rule"):
            case "kpi":
                value, at_least, once = float(goal_value(kpis, rule.kpi.kpi)), rule.kpi.at_least, True
            case "teleport_burst":
                value, at_least, once = float(kpis.teleports - before.teleports), float(rule.teleport_burst), False
            case "gridlock_share":
                value, at_least, once = kpis.halting / max(1, kpis.running), rule.gridlock_share, True
            case _:
                return
        if value >= at_least and not (once and number in self._reached):
            self._reached.add(number)
            self._say(MilestoneReached(rule=number, value=value), step)

    def _start_phase(self, step: int) -> None:
        """The next phase, where there is one."""
        self._phase += 1
        if self._in_phase:
            self._phase_end_step = self._end_of(self._phase)
            self._say(PhaseStarted(phase=self._phase), step)

    def _end_phase(self, step: int) -> None:
        now = self.kpis if self.closed_step == step else self.place(step).kpis
        self._say(PhaseEnded(phase=self._phase, kpis=difference(now, self._phase_kpis)), step)
        self._phase_kpis = now

    def _end_of(self, phase: int) -> int:
        """Phases follow each other without a gap; each ends at the first step at or after its time."""
        duration_s = sum(planned.duration_s for planned in self._plan.phases[: phase + 1])
        return self._grid.step_at(self._grid.time_s(0) + duration_s)

    def _say(self, payload: MilestoneReached | PhaseStarted | PhaseEnded, step: int) -> None:
        self._tell(FromChild(told=_told(payload, step, self._grid.time_s(step))))


def _told(payload: Message, step: int, sim_time_s: float) -> Told:
    kind = _KINDS[type(payload)]
    return Told(kind=kind, step=step, sim_time_s=sim_time_s, payload=payload.SerializeToString(deterministic=True))
