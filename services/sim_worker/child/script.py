"""What changes a simulation without being asked for: what is planned, and the journal of what was done to it before.

At one step: what is planned, then the journal. Where a fork may have planned something else from here on, entries of
its parent's journal say how much of the plan came before them.
"""

from collections import deque

from milepost.child.v1.child_pb2 import Plan
from milepost.event.v1.event_pb2 import JournalEntry
from milepost.session.v1.session_pb2 import PlannedIntervention
from sim_worker.child.grid import Grid
from sim_worker.child.interventions import Interventions, Refusal


class ReplayFailed(Exception):
    """An intervention that was applied once cannot be applied again at the same step."""


class PlanRefused(Exception):
    """The simulation refuses an intervention that was planned."""


class Script:
    """Applies it, step by step. A copy of the process goes on with it."""

    def __init__(self, interventions: Interventions, grid: Grid) -> None:
        self.journal_length = 0
        """Interventions by command that were applied."""
        self.planned_length = 0
        """Interventions by plan that were applied."""
        self._interventions = interventions
        self._grid = grid
        self._journal: deque[JournalEntry] = deque()
        # With their places in the plan as it was given.
        self._planned: deque[tuple[int, PlannedIntervention]] = deque()

    def follow(self, plan: Plan, *, step: int) -> None:
        """Take over what a plan says of the way from here; its beginning is applied already. Raises ReplayFailed."""
        # SUMO counts milliseconds: sorting is stable, of equal times the earlier in the list is first.
        in_order = sorted(enumerate(plan.planned), key=lambda one: round(one[1].at_time_s * 1000))
        self._planned = deque(in_order[self.planned_length :])
        self._journal = deque(plan.journal[self.journal_length :])
        due = self.next_step()
        if due is not None and due < step:
            raise ReplayFailed(f"step {due} is to be changed, which is past at step {step}")

    def next_step(self) -> int | None:
        """Where it changes something next."""
        steps = [self._journal[0].step] if self._journal else []
        if self._planned:
            steps.append(self._step_of(self._planned[0][1]))
        return min(steps, default=None)

    def apply(self, step: int) -> None:
        """Apply what is due at a step. Raises ReplayFailed, PlanRefused."""
        while (due := self.next_step()) is not None and due <= step:
            if self._journal_is_next(step):
                self._repeat(self._journal.popleft(), step)
            else:
                self._begin(*self._planned.popleft())

    def _journal_is_next(self, step: int) -> bool:
        if not self._journal or self._journal[0].step > step:
            return False
        if not self._planned or self._step_of(self._planned[0][1]) > step:
            return True
        entry = self._journal[0]
        return entry.HasField("planned_length") and entry.planned_length <= self.planned_length

    def _repeat(self, entry: JournalEntry, step: int) -> None:
        try:
            self._interventions.apply(entry.intervention)
        except Refusal as refusal:
            raise ReplayFailed(
                f"{entry.command_id} was applied at step {step} and is refused now: {refusal}"
            ) from refusal
        self.journal_length += 1

    def _begin(self, index: int, planned: PlannedIntervention) -> None:
        try:
            self._interventions.apply(planned.intervention)
        except Refusal as refusal:
            what = planned.intervention.WhichOneof("change") or "nothing"
            raise PlanRefused(
                f"spec.interventions[{index}], {what} at {planned.at_time_s:g} s, is refused: {refusal}"
                + (f" ({refusal.field})" if refusal.field else "")
            ) from refusal
        self.planned_length += 1

    def _step_of(self, planned: PlannedIntervention) -> int:
        return self._grid.step_at(planned.at_time_s)
