"""What a worker knows of a session it has claimed, from one attempt to the next."""

from dataclasses import dataclass, field
from pathlib import Path

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.child.v1.child_pb2 import Started
from milepost.event.v1.event_pb2 import ForkPast, StartKind
from session_log.past import NOTHING, Past
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.prepare_scene import Scene
from sim_worker.application.snapshots import Kept, first_name

Key = tuple[str, str]


@dataclass(slots=True)
class Session:
    """One session in one slot. `root` is its own, and gone with it."""

    attempt: AttemptLog
    root: Path
    trace: str = ""
    """The span of the attempt before this one, whoever made it; a `traceparent`."""
    directory: Path = field(init=False)
    """Where it is simulated, below `root`: a new one after each rebase."""
    left: Path | None = None
    """Where it was until the rebase that is under way."""
    died_loading: int = 0
    """Processes that died while they loaded its latest state file."""
    not_rebased: set[int] = field(default_factory=set)
    """Steps whose state does not load."""
    past: Past = NOTHING
    fork_past: ForkPast = field(default_factory=ForkPast)
    scene: Scene | None = None
    started: Started | None = None
    """What SUMO said when it had loaded the scene."""
    tolerant: bool = False
    """Whether it goes on though it differs from its own past, and has said so."""

    def __post_init__(self) -> None:
        self.directory = self.root / "0"

    @property
    def key(self) -> Key:
        """Tenant and id."""
        return self.attempt.tenant, self.attempt.session_id


@dataclass(frozen=True, slots=True)
class Start:
    """What an attempt begins from."""

    kind: StartKind.ValueType = StartKind.START_KIND_ORIGIN
    step: int = 0
    kept: Kept | None = None
    """The copy that is woken, for MEMORY_SNAPSHOT."""
    parent: Key | None = None
    """The session that copy is of, when it is not this one."""
    lingers: bool = False
    """Whether that session has ended."""
    checkpoint: Checkpoint | None = None
    """The manifest, for STATE_FILE."""
    after: "Start | None" = None
    """Where the attempt began, for one that goes on from its own state file (REBASE)."""
    judged: int = 0
    """Intervals it has computed again before."""

    @property
    def first(self) -> "Start":
        """Where the attempt began."""
        return self.after or self

    @property
    def name(self) -> str:
        """Tells it from every other start of the session."""
        source = self.checkpoint.checkpoint_id if self.checkpoint else ""
        if self.kept:
            # One that sleeps in another's place is as good, or as bad.
            source = first_name(self.kept.snapshot.snapshot_id)
        return f"{self.kind} {self.step} {source}"
