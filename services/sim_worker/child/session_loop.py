"""The loop of a session: load, step, tell, end — as the bare `sumo` binary would with the same arguments.

start ─► Started ─► [ boundary ─► steps ─► tell what is due ─► run ahead too far? wait ] ─► Finished

At a boundary, between two steps: the journal, what the worker asks for, standing, waiting for the pace. A copy of
the process is made there and goes on from there.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from milepost.child.v1.child_pb2 import (
    Alive,
    Finished,
    FromChild,
    Halted,
    Plan,
    RebaseDue,
    ToChild,
    Woken,
)
from milepost.session.v1.session_pb2 import CompletionReason, Results
from sim_worker.child.chronicle import Chronicle
from sim_worker.child.copies import Copies
from sim_worker.child.course import Course, next_rebase
from sim_worker.child.ending import Ending, Reason
from sim_worker.child.engine import Engine
from sim_worker.child.final_statistics import final_kpis, with_statistics
from sim_worker.child.frames import Frames
from sim_worker.child.framing import LINGERING, UNASKED
from sim_worker.child.grid import Grid
from sim_worker.child.requests import Requests
from sim_worker.child.started import started
from sim_worker.child.worker_link import WorkerLink

# The worker hears something at least this often unless a single step takes longer, seconds.
ALIVE_PERIOD_S: Final = 0.5
# How long SUMO steps without coming back, seconds: it costs small networks 2 %; a command waits as long, or one step.
_STRIDE_S: Final = 0.01
# Between two looks at the worker's messages and at what is due, seconds: a look at every step would cost small
# networks 2 %.
_LOOK_PERIOD_S: Final = 0.005
# Between two looks while a process does something for the simulation and that stands, seconds.
_HELPED_PERIOD_S: Final = 0.02


class SessionLoop:
    """One session from its plan to its end. Raises what the engine raises, and WorkerGone."""

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        link: WorkerLink,
        copies: Copies,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = 0
        self.sim_time_s = 0.0
        self.loading = True
        self._plan = plan
        self._engine = engine
        self._link = link
        self._copies = copies
        self._monotonic = monotonic
        self._arguments, self._statistics = with_statistics(plan.arguments)
        self._inbox: deque[ToChild] = deque()
        self._stride_steps = 1
        self._stop_step = self._due_step = 0
        self._durable_step = 0
        self._stopping = False
        self._rebasing = False
        # At the last step, which a copy of the process is to be kept of.
        self._lingers = False
        self._frames = Frames(engine, self._tell)
        self._alive_due = 0.0
        self._look_due = 0.0

    def run(self) -> None:
        """Until the end; every output is complete and Finished is sent when it returns."""
        self._start()
        reason = self._simulate()
        lingers = LINGERING in self._copies.reap(wait=True)
        self._engine.close()
        kpis = self._chronicle.kpis
        results = Results(reason=reason, steps=self.step, sim_time_s=self.sim_time_s)
        results.kpis.CopyFrom(kpis if self._plan.state_file else final_kpis(self._statistics, kpis))
        results.state_digest = self._chronicle.digest
        finished = Finished(step=self.step, sim_time_s=self.sim_time_s, results=results, lingers=lingers)
        self._link.send(FromChild(finished=finished))

    def _start(self) -> None:
        plan = self._plan
        loaded = ("--load-state", plan.state_file) if plan.state_file else ()
        clock = self._engine.start([*self._arguments, *loaded])
        self.loading = False
        self.step = self._durable_step = plan.resumption.step if plan.state_file else 0
        self.sim_time_s = clock.begin_time_s
        self._grid = Grid.of(time_s=clock.begin_time_s, step=self.step, step_length_s=clock.step_length_s)
        self._tell(FromChild(started=started(plan, clock, begin_time_s=self._grid.time_s(0))))
        self._chronicle = Chronicle(plan, self._engine, self._grid, self._tell)
        self._requests = Requests(self._engine, self._chronicle, self._copies, self._grid, self._tell)
        if plan.state_file:
            self._chronicle.resume(plan.resumption)
            self._requests.script.journal_length = plan.resumption.journal_length
            self._requests.script.planned_length = plan.resumption.planned_length
            self._requests.restore(plan.restore)
        else:
            self._chronicle.begin()
        self._follow(plan)

    def _follow(self, plan: Plan) -> None:
        """Take over what a plan says about the way from here."""
        self._plan = plan
        self._course = Course(plan, self._grid)
        self._requests.follow(plan.commands, self._course)
        self._requests.script.follow(plan, step=self.step)
        self._ending = Ending(plan, self._grid, self._engine)
        every = plan.copy_every_steps
        self._copy_step = (self.step // every + 1) * every if every else None
        self._rebase_step = next_rebase(plan, self.step)
        # With less than one the next interval would never begin.
        self._run_ahead_steps = max(1, plan.run_ahead_intervals) * plan.interval_steps

    def _simulate(self) -> Reason:
        """Step to the first reason to end; the last interval is closed there, be it shorter than others."""
        while True:
            self._at_boundary()
            if self._stopping:
                if not self._rebasing and self._linger():
                    continue
                self._chronicle.at(self.step, ended=True)
                return CompletionReason.COMPLETION_REASON_TERMINATED
            self._stride()
            reason = self._ending.reason(self.step)
            if reason is not None and self._linger():
                reason = self._ending.reason(self.step)
            if reason is not None or self.step >= self._due_step:
                reached_goal = self._chronicle.at(self.step, ended=reason is not None)
                if reason is None and reached_goal:
                    reason = CompletionReason.COMPLETION_REASON_KPI_GOAL
            if reason is not None:
                return reason
            if self.step == self._rebase_step:
                self._stand_to_be_rebased()
            self._wait_for_the_log()

    def _linger(self) -> bool:
        """Leave a copy at the last step, before it is closed. True in the copy, which goes on when it wakes."""
        if not self._plan.lingers:
            return False
        self._lingers = True
        self._sleep(LINGERING)
        return not self._lingers

    def _at_boundary(self) -> None:
        """Returns when the next step may be taken."""
        caught_up = self._course.catches_up(self.step)
        if caught_up or self._monotonic() >= self._look_due:
            self._look()
        if caught_up:
            # What waits for this is asked for now.
            self._tell(FromChild(alive=Alive(step=self.step, sim_time_s=self.sim_time_s)))
        if self.step < self._stop_step and not self._course.paced:
            return
        if self._copy_step is not None and self.step >= self._copy_step:
            self._copy_unasked()
        while not self._stopping:
            self._requests.script.apply(self.step)
            if self._course.stands(self.step):
                if self._course.comes_to_stand():
                    self._tell(FromChild(halted=Halted(step=self.step, sim_time_s=self.sim_time_s)))
                self._look(wait_s=self._patience_s())
                continue
            wait_s = self._course.wait_s(self.step, now=self._monotonic())
            if wait_s <= 0.0:
                self._look_ahead()
                return
            self._look(wait_s=min(wait_s, self._patience_s()))

    def _copy_unasked(self) -> None:
        """What the schedule wants here. The past is not copied again."""
        self._copy_step = self.step + self._plan.copy_every_steps
        if not self._course.replaying(self.step):
            self._sleep(f"{UNASKED}{self.step}")

    def _stand_to_be_rebased(self) -> None:
        """Until told to leave; a copy that wakes meanwhile goes on. First of all here, so that it can be repeated."""
        self._rebasing = True
        self._tell_rebase_due()
        while self._rebasing and not self._stopping:
            self._look(wait_s=self._patience_s())

    def _tell_rebase_due(self) -> None:
        self._tell(FromChild(rebase_due=RebaseDue(step=self.step, sim_time_s=self.sim_time_s)))

    def _look_ahead(self) -> None:
        """Find the next step at which something is to be told, and the next at which something is to be done."""
        interval_end = self._chronicle.closed_step + self._plan.interval_steps
        phase_end = self._chronicle.next_stop(self.step)
        self._due_step = interval_end if phase_end is None else min(interval_end, phase_end)
        asked = (self._requests.script.next_step(), self._course.next_stop(self.step))
        stops = (self._ending.step, self._copy_step, self._rebase_step, *asked)
        self._stop_step = min([self._due_step, *(stop for stop in stops if stop is not None)])

    def _stride(self) -> None:
        """As many steps at once as may be taken without missing anything and without staying away too long."""
        steps = 1
        if not self._ending.when_empty:
            steps = max(1, min(self._stride_steps, self._stop_step - self.step, self._course.stride_steps))
        began = self._monotonic()
        time_s = self._grid.time_s(self.step + steps)
        self._engine.step_to(time_s)
        self.step += steps
        self.sim_time_s = time_s
        took_s = self._monotonic() - began
        self._stride_steps = max(1, min(2 * steps, int(_STRIDE_S * steps / took_s))) if took_s else 2 * steps

    def _look(self, *, wait_s: float = 0.0) -> None:
        """Take what the worker says, tell it what is due."""
        if not self._rebasing:
            self._requests.script.apply(self.step)
        # Whatever it says may change where to stop.
        self._stop_step = self.step
        self._inbox += self._link.receive(wait_s=wait_s)
        while self._inbox:
            self._take(self._inbox.popleft())
        if not self._rebasing:
            self._requests.carry_out(self.step)
        if self._copies.helped:
            self._copies.reap(wait=False)
        now = self._monotonic()
        self._look_due = now + _LOOK_PERIOD_S
        if now >= self._alive_due:
            self._tell(FromChild(alive=Alive(step=self.step, sim_time_s=self.sim_time_s)))
        self._frames.look(now, step=self.step, sim_time_s=self.sim_time_s)

    def _wait_for_the_log(self) -> None:
        """Not further ahead of what is durable than the plan allows."""
        while self._chronicle.closed_step - self._durable_step >= self._run_ahead_steps and not self._stopping:
            self._look(wait_s=self._patience_s())

    def _patience_s(self) -> float:
        return _HELPED_PERIOD_S if self._copies.helped else ALIVE_PERIOD_S

    def _tell(self, message: FromChild) -> None:
        self._link.send(message)
        self._alive_due = self._monotonic() + ALIVE_PERIOD_S

    def _take(self, message: ToChild) -> None:
        match message.WhichOneof("message"):
            case "durable":
                self._durable_step = max(self._durable_step, message.durable.step)
            case "frame_rate":
                self._frames.want(message.frame_rate.max_hz)
            case "stop":
                self._stopping = True
            case "command":
                self._requests.put(message.command)
                if not self._rebasing:
                    self._requests.carry_out(self.step)
            case "take_snapshot":
                self._sleep(message.take_snapshot.snapshot_id)
            case "describe":
                self._requests.describe(message.describe.request_id, self.step)
            case "check":
                self._requests.check(message.check)
            case "write_state":
                self._requests.write_state(message.write_state, self.step)

    def _sleep(self, snapshot_id: str) -> None:
        """Fork a copy. It is here, too, that the copy wakes."""
        wake = self._requests.take_snapshot(snapshot_id, self.step)
        if wake is not None:
            self._wake_up(wake.plan)

    def _wake_up(self, plan: Plan) -> None:
        """This is the copy now: what was said to the process it was made from is not for it."""
        self._inbox.clear()
        plan.arguments[:] = self._plan.arguments
        plan.engine, plan.interval_steps = self._plan.engine, self._plan.interval_steps
        plan.state_file = self._plan.state_file
        self._stopping = False
        # Whether that is still to be done here: the file may have been found not to load meanwhile.
        self._rebasing = self._rebasing and next_rebase(plan, self.step - 1) == self.step
        self._durable_step = self._chronicle.closed_step
        self._frames.want(0.0)
        self._chronicle.rebase(plan)
        self._follow(plan)
        self._tell(FromChild(woken=Woken(step=self.step, sim_time_s=self.sim_time_s)))
        if self._rebasing:
            self._tell_rebase_due()
        elif self._lingers:
            # What is due at this step is told before it is changed.
            self._lingers = False
        else:
            self._requests.script.apply(self.step)
