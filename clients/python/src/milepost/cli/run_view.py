"""What a watcher of a run wants to know, folded from its events. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from milepost.event.v1.event_pb2 import ClaimReason, Event
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import Session

_FIRST_CLAIMS = (ClaimReason.CLAIM_REASON_NEW, ClaimReason.CLAIM_REASON_NEW_RUN)
# Verbs that set a standing simulation going.
_MOVES = {"set_pace", "step", "run_until"}
_WORDS = {
    "run_started": "running",
    "session_recovered": "running",
    "run_opened": "pending",
    "paused": "paused",
    "session_completed": "completed",
    "session_failed": "failed",
    "session_cancelled": "cancelled",
}
_ASKED = {"suspend": "suspending", "terminate": "terminating", "cancel": "terminating"}
# What a claimed session was asked for, while it is still under way.
_UNDER_WAY = {"suspending", "terminating"}
_UNCLAIMED = {"pending", "suspended", "completed", "failed", "cancelled"}


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
    _verbs: dict[str, str] = field(default_factory=dict)
    _since: tuple[datetime, float] | None = None

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
        self.state = self._state_after(event, kind)
        match kind:
            case "run_started":
                self.begin_s = event.run_started.begin_time_s
                # A run that continues another stands where that one was, not where SUMO begins to simulate it again.
                self.sim_time_s = max(self.sim_time_s, self.begin_s)
            case "session_updated" if event.session_updated.spec.HasField("end_time_s"):
                self.end_s = event.session_updated.spec.end_time_s
            case "run_opened":
                self.sim_time_s = max(event.run_opened.sim_time_s, self.begin_s)
                if event.run_opened.spec.HasField("end_time_s"):
                    self.end_s = event.run_opened.spec.end_time_s
            case "interval_closed":
                self.kpis = event.interval_closed.kpis
                self.sim_time_s = event.sim_time_s
            case "session_completed":
                self.sim_time_s = event.sim_time_s
        self._pace_after(event, kind)

    def _state_after(self, event: Event, kind: str) -> str:
        match kind:
            case "attempt_claimed" if self.state not in _UNDER_WAY:
                return "preparing" if event.attempt_claimed.because in _FIRST_CLAIMS else "recovering"
            case "command_requested":
                asked: str = event.command_requested.WhichOneof("verb") or ""
                self._verbs[event.command_requested.command_id] = asked
                return self.state if self.state in _UNCLAIMED else _ASKED.get(asked, self.state)
            case "command_applied":
                return self._state_applied(self._verbs.pop(event.command_applied.command_id, ""))
            case "command_rejected":
                verb = self._verbs.pop(event.command_rejected.command_id, "")
                return "running" if (verb, self.state) == ("suspend", "suspending") else self.state
            case "run_started" | "session_recovered" | "paused" if self.state in _UNDER_WAY:
                return self.state
            case _:
                return _WORDS.get(kind, self.state)

    def _state_applied(self, verb: str) -> str:
        match verb, self.state:
            case "suspend", "completed" | "failed" | "cancelled":
                return self.state
            case "suspend", _:
                return "suspended"
            case "resume", "suspended":
                return "pending"
            case _, "paused" if verb in _MOVES:
                return "running"
            case _:
                return self.state

    def _pace_after(self, event: Event, kind: str) -> None:
        """Measured since it last began to step: both times are of one worker's clock."""
        recorded = event.record_time.ToDatetime()
        if kind in {"run_started", "session_recovered", "paused", "command_applied"}:
            self._since = None
        if kind in {"run_started", "interval_closed", "session_recovered"}:
            self._since = self._since or (recorded, self.sim_time_s)
            wall_s = (recorded - self._since[0]).total_seconds()
            if kind == "interval_closed" and wall_s > 0:
                self.real_time_factor = (self.sim_time_s - self._since[1]) / wall_s
