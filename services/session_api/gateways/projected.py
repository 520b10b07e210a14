"""One session of the projection: the resource clients see, and what is remembered beside it."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from milepost.event.v1.event_pb2 import CommandRequested, Event
from milepost.session.v1.session_pb2 import Session, SessionState


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    command_id: str
    seq: int
    step: int
    sim_time_s: float
    applied: bool
    message: str = ""
    field: str = ""

    @classmethod
    def of_applied(cls, event: Event) -> "Outcome":
        """CommandApplied."""
        name = event.command_applied.command_id
        return cls(name, event.seq, event.step, event.sim_time_s, applied=True)

    @classmethod
    def of_rejected(cls, event: Event) -> "Outcome":
        """CommandRejected."""
        rejected = event.command_rejected
        return cls(
            rejected.command_id,
            event.seq,
            event.step,
            event.sim_time_s,
            applied=False,
            message=rejected.message,
            field=rejected.field,
        )


@dataclass(slots=True)
class Projected:
    """A session's row. Times are POSIX seconds."""

    session: Session = field(default_factory=Session)
    pool: str = ""
    open_commands: dict[str, CommandRequested] = field(default_factory=dict)
    paced_since_s: float = 0.0
    """Since when the real-time factor counts, and from which simulated time."""
    paced_from_sim_s: float = 0.0
    idle_since_s: float = 0.0
    """The last change of state, pause or outcome of a command."""

    waits_for_quota: bool = False
    """Whether it was taken although the tenant's quota of sessions might be used up."""

    @property
    def stored_bytes(self) -> int:
        """Files it has left."""
        states = (checkpoint.state_file.size_bytes for checkpoint in self.session.checkpoints)
        return sum(artifact.size_bytes for artifact in self.session.artifacts) + sum(states)

    @property
    def idle_until(self) -> datetime | None:
        """When the session has stood for too long (`limits.idle_ttl_s`); None while it does not just stand."""
        session, ttl_s = self.session, self.session.spec.limits.idle_ttl_s
        running = session.state == SessionState.SESSION_STATE_RUNNING
        standing = session.state == SessionState.SESSION_STATE_SUSPENDED or (running and session.pace.paused)
        if not standing or not ttl_s or session.HasField("delete_time") or self.open_commands:
            return None
        return datetime.fromtimestamp(self.idle_since_s + ttl_s, UTC).replace(tzinfo=None)

    @property
    def purge_time(self) -> datetime | None:
        """When a deleted session goes for good."""
        if not self.session.HasField("purge_time"):
            return None
        return self.session.purge_time.ToDatetime(UTC).replace(tzinfo=None)

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, while it may be deleted for its age: it was not deleted, and no checkpoint of it is pinned."""
        session = self.session
        kept = session.HasField("delete_time") or any(checkpoint.pinned for checkpoint in session.checkpoints)
        if kept or not session.HasField("end_time"):
            return None
        return session.end_time.ToDatetime(UTC).replace(tzinfo=None)

    @property
    def kept_until(self) -> datetime | None:
        """When that age is reached by its own limit (`limits.keep_ended_s`); None: the service's counts."""
        keep_s = self.session.spec.limits.keep_ended_s
        return self.ended_at + timedelta(seconds=keep_s) if self.ended_at and keep_s else None

    def memory(self) -> str:
        """What is remembered beside the resource, for the row."""
        commands = [base64.b64encode(command.SerializeToString()).decode() for command in self.open_commands.values()]
        marks = [self.paced_since_s, self.paced_from_sim_s, self.idle_since_s]
        kept = {"open_commands": commands, "marks": marks}
        return json.dumps(kept | ({"waits_for_quota": True} if self.waits_for_quota else {}))

    @classmethod
    def of_row(cls, resource: bytes, pool: str, memory: str) -> "Projected":
        """From a row; `memory` is empty in rows of the first release, which knew no command that waits."""
        kept = json.loads(memory or "{}")
        commands = [CommandRequested.FromString(base64.b64decode(text)) for text in kept.get("open_commands", [])]
        projected = cls(
            Session.FromString(resource),
            pool,
            {command.command_id: command for command in commands},
            *kept.get("marks", []),
        )
        projected.waits_for_quota = kept.get("waits_for_quota", False)
        return projected
