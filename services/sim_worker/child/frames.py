"""Frames of a running simulation, as long as somebody wants them."""

from collections.abc import Callable

from milepost.child.v1.child_pb2 import FrameMade, FromChild
from sim_worker.child.engine import Engine
from sim_worker.child.observe import frame_of


class Frames:
    """Tells one whenever it is due."""

    def __init__(self, engine: Engine, tell: Callable[[FromChild], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._period_s = 0.0
        self._due = 0.0

    def want(self, max_hz: float) -> None:
        """At most so many a second of wall time; 0: none."""
        self._period_s = 1.0 / max_hz if max_hz > 0 else 0.0

    def look(self, now: float, *, step: int, sim_time_s: float) -> None:
        """Tell the frame of this step when it is time, by a monotonic clock."""
        if self._period_s and now >= self._due:
            self._due = now + self._period_s
            frame = frame_of(self._engine, step=step, sim_time_s=sim_time_s)
            self._tell(FromChild(frame=FrameMade(frame=frame.SerializeToString())))
