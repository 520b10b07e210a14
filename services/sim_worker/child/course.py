"""How a session is to move: at what pace, up to where, and whether it stands.

Up to `replay_to_step` it moves at full speed and stands for nothing: what was told to it then is history.
"""

from typing import Final

from milepost.child.v1.child_pb2 import Plan
from sim_worker.child.grid import Grid

# A simulation that is slower than its pace does not hurry on for longer than this when it gets faster, seconds.
_MAX_LAG_S: Final = 1.0
# A paced simulation takes at most so much wall time worth of steps at once, seconds.
_PACED_STRIDE_S: Final = 0.01
_UNBOUNDED_STEPS: Final = 2**62


class Course:
    """Changed by commands, asked between two steps."""

    def __init__(self, plan: Plan, grid: Grid) -> None:
        self._grid = grid
        self._replay_to_step = plan.replay_to_step
        self._pace = max(0.0, plan.pace)
        self._paused = False
        self._hold_step = plan.hold_at_step if plan.HasField("hold_at_step") else None
        if plan.HasField("hold_at_time_s"):
            at_time = grid.step_at(plan.hold_at_time_s)
            self._hold_step = at_time if self._hold_step is None else min(at_time, self._hold_step)
        self._told = False
        self._past_ahead = True
        # Simulated time and wall time from which the pace counts.
        self._anchor: tuple[float, float] | None = None

    def replaying(self, step: int) -> bool:
        """Whether the past is simulated again."""
        return step < self._replay_to_step

    def catches_up(self, step: int) -> bool:
        """Whether the past ends here; once."""
        here, self._past_ahead = (
            self._past_ahead and not self.replaying(step),
            self._past_ahead and self.replaying(step),
        )
        return here

    def stands(self, step: int) -> bool:
        """Whether it must not move on."""
        if self.replaying(step):
            return False
        if self._hold_step is not None and step >= self._hold_step:
            self._paused, self._hold_step = True, None
        if self._paused:
            self._anchor = None
        return self._paused

    def comes_to_stand(self) -> bool:
        """Whether it stands and nobody was told yet; they are now."""
        told, self._told = self._told, True
        return not told

    def next_stop(self, step: int) -> int | None:
        """The next step at which something changes here."""
        if self.replaying(step):
            return self._replay_to_step
        return self._hold_step

    def wait_s(self, step: int, *, now: float) -> float:
        """How long the next step has to wait for its time, by a monotonic clock; 0 or less: not."""
        if not self._pace or self.replaying(step):
            return 0.0
        time_s = self._grid.time_s(step)
        if self._anchor is None:
            self._anchor = time_s, now
        wait_s = self._anchor[1] + (time_s - self._anchor[0]) / self._pace - now
        if wait_s < -_MAX_LAG_S:
            self._anchor = time_s, now
        return wait_s

    @property
    def paced(self) -> bool:
        """Whether steps have to wait for their time, once the past is simulated."""
        return self._pace > 0.0

    @property
    def stride_steps(self) -> int:
        """Most steps that the pace allows at once."""
        if not self._pace:
            return _UNBOUNDED_STEPS
        return max(1, self._grid.steps_within(self._pace * _PACED_STRIDE_S))

    def set_pace(self, factor: float, *, paused: bool, step: int) -> None:
        """Move at another pace, or stand; a hold that is still ahead stays unless it is to stand now."""
        self._pace = max(0.0, factor)
        self._anchor = None
        self._told = self._paused and paused
        self._paused = paused
        if paused or (self._hold_step is not None and self._hold_step <= step):
            self._hold_step = None

    def hold_at(self, step: int) -> None:
        """Move on, and stand there."""
        self._paused, self._hold_step, self._told = False, step, False

    def run_until(self, time_s: float) -> None:
        """Move on, and stand at the first step at or after a time."""
        self.hold_at(self._grid.step_at(time_s))


def next_rebase(plan: Plan, step: int) -> int | None:
    """The next step at which to be rebased: as the log says as long as it says anything, then on schedule."""
    ahead = [at for at in plan.rebased_steps if step < at <= plan.replay_to_step]
    if every := plan.rebase_every_steps:
        after = max(step + 1, plan.replay_to_step)
        due = -(-after // every) * every
        while due in plan.not_rebased_steps:
            due += every
        ahead.append(due)
    return min((at for at in ahead if at not in plan.not_rebased_steps), default=None)
