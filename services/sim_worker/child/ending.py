"""Where a simulation ends, as MSNet::simulationState says it: at its end time, or with an empty network."""

from typing import TypeAlias

from milepost.child.v1.child_pb2 import Plan
from milepost.session.v1.session_pb2 import CompletionReason
from sim_worker.child.engine import Engine
from sim_worker.child.grid import Grid

Reason: TypeAlias = CompletionReason.ValueType


class Ending:
    """What a plan says of it."""

    def __init__(self, plan: Plan, grid: Grid, engine: Engine) -> None:
        self.step = grid.step_at(plan.end_time_s) if plan.HasField("end_time_s") else None
        """The last step, where it is known."""
        self.when_empty = self.step is None or plan.stop_when_empty
        """Whether every step may be the last."""
        self._engine = engine

    def reason(self, step: int) -> Reason | None:
        """Why it ends at a step; None: it does not. Raises EngineFailed."""
        if self.step is not None and step >= self.step:
            return CompletionReason.COMPLETION_REASON_END_TIME
        if self.when_empty and not self._engine.expected():
            return CompletionReason.COMPLETION_REASON_NETWORK_EMPTY
        return None
