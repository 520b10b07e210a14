"""What a watcher of a run wants to know, folded from its events. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from milepost.event.v1.event_pb2 import Event
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import Session

_WORDS = {
    "session_created": "pending",
    "attempt_claimed": "preparing",
    "run_started": "running",
    "session_completed": "completed",
    "session_failed": "failed",
    "session_cancelled": "cancelled",
}


@dataclass(slots=True)
class RunView:
    """How far a run is. Times in simulated seconds; `end_s` None when it ends with the last vehicle."""

    session_id: str
    name: str
    end_s: float | None
    begin_s: float = 0.0
    state: str = "pending"
    sim_time_s: float = 0.0
    real_time_factor: float = 0.0
    kpis: Kpis = field(default_factory=Kpis)
    _started: datetime | None = None

    @classmethod
    def of(cls, session: Session) -> "RunView":
        """The view of a session of which no event has been seen."""
        end = next((part.end_time_s for part in (session.spec, session.scene) if part.HasField("end_time_s")), None)
        begin = session.scene.begin_time_s
        return cls(
            session_id=session.session_id,
            name=session.display_name or session.session_id,
            end_s=end,
            begin_s=begin,
            sim_time_s=begin,
        )

    def apply(self, event: Event) -> None:
        """Go on by one event."""
        kind = event.WhichOneof("payload") or ""
        self.state = _WORDS.get(kind, self.state)
        recorded = event.record_time.ToDatetime()
        if kind == "run_started":
            self.begin_s = event.run_started.begin_time_s
            self._started = recorded
        elif kind == "interval_closed":
            self.kpis = event.interval_closed.kpis
        if kind in {"run_started", "interval_closed", "session_completed"}:
            self.sim_time_s = event.sim_time_s
        # Both times are of one worker's clock.
        wall_s = (recorded - self._started).total_seconds() if self._started else 0.0
        if kind == "interval_closed" and wall_s > 0:
            self.real_time_factor = (self.sim_time_s - self.begin_s) / wall_s
