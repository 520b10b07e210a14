"""What happened to a session beside its traffic, folded from its events. Pure.

run 1   attempt 1 ────────┤attempt 2 ─────────▶     with checkpoints, interventions, milestones on the way
run 2             └ attempt 3 ──────────▶
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointCause
from milepost.cli.words import change_words, enum_word
from milepost.event.v1.event_pb2 import ClaimReason, Event, EventKind, RunCause, Verdict

KINDS = (
    EventKind.EVENT_KIND_SESSION_CREATED,
    EventKind.EVENT_KIND_ATTEMPT_CLAIMED,
    EventKind.EVENT_KIND_RUN_STARTED,
    EventKind.EVENT_KIND_RECOVERY_JUDGED,
    EventKind.EVENT_KIND_SESSION_RECOVERED,
    EventKind.EVENT_KIND_RUN_OPENED,
    EventKind.EVENT_KIND_COMMAND_REQUESTED,
    EventKind.EVENT_KIND_COMMAND_APPLIED,
    EventKind.EVENT_KIND_COMMAND_REJECTED,
    EventKind.EVENT_KIND_CHECKPOINT_COMMITTED,
    EventKind.EVENT_KIND_CHECKPOINT_DELETED,
    EventKind.EVENT_KIND_MILESTONE_REACHED,
)
"""Kinds a history is made of."""


class MarkKind(Enum):
    """What a mark on the time axis stands for."""

    CHECKPOINT = "checkpoint"
    INTERVENTION = "intervention"
    MILESTONE = "milestone"


@dataclass(slots=True)
class Mark:
    """Something that happened at an instant of simulated time; None: it never was applied."""

    kind: MarkKind
    run: int
    sim_time_s: float | None
    words: str
    comment: str = ""
    record_time: datetime | None = None
    identity: str = ""
    gone: bool = False
    """A checkpoint that does not exist any more."""


@dataclass(slots=True)
class AttemptSpan:
    """One claim, and the simulated time at which it took over."""

    attempt: int
    run: int
    worker_id: str
    because: str
    begin_s: float
    claimed: datetime
    ready: datetime | None = None
    verdict: str = ""
    intervals_again: int = 0

    @property
    def ready_after_s(self) -> float | None:
        """Wall time from the claim until it went on where the log stood, seconds."""
        return None if self.ready is None else (self.ready - self.claimed).total_seconds()


@dataclass(slots=True)
class RunSpan:
    """A run: where it began, why, and how far it came, simulated seconds."""

    run: int
    cause: str
    begin_s: float
    end_s: float


@dataclass(slots=True)
class History:
    """Takes a session's events of KINDS in order.

    `head_before(seq, run)` tells the simulated time the log had reached before an event, None: nowhere yet in that run.
    """

    begin_s: float
    head_before: Callable[[int, int], float | None]
    runs: list[RunSpan] = field(default_factory=list)
    attempts: list[AttemptSpan] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    _asked: dict[str, Event] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """One more event."""
        match event.WhichOneof("payload"):
            case "session_created":
                forked = event.session_created.HasField("forked_from")
                begin_s = event.session_created.forked_from.sim_time_s if forked else self.begin_s
                self.runs.append(RunSpan(1, "forked" if forked else "created", begin_s, begin_s))
            case "run_opened":
                opened = event.run_opened
                begin_s = opened.sim_time_s if opened.base_run else self.begin_s
                cause = enum_word(RunCause.Name(opened.because), "RUN_CAUSE_")
                self.runs.append(RunSpan(opened.run, cause, begin_s, begin_s))
            case "attempt_claimed":
                self._claim(event)
            case "run_started" if self.attempts:
                # The first attempt of a run is at work with it; a later one once it has recovered.
                first = sum(one.run == event.run for one in self.attempts) == 1
                if first and self.attempts[-1].ready is None:
                    self.attempts[-1].ready = event.record_time.ToDatetime()
            case "session_recovered" if self.attempts:
                self.attempts[-1].ready = event.record_time.ToDatetime()
            case "recovery_judged" if self.attempts:
                judged = event.recovery_judged
                self.attempts[-1].verdict = Verdict.Name(judged.verdict).removeprefix("VERDICT_")
                self.attempts[-1].intervals_again = judged.intervals
            case _:
                self._mark(event)

    def _claim(self, event: Event) -> None:
        claimed = event.attempt_claimed
        run = self.runs[-1] if self.runs else RunSpan(1, "", self.begin_s, self.begin_s)
        head_s = self.head_before(event.seq, run.run)
        self.attempts.append(
            AttemptSpan(
                attempt=claimed.attempt,
                run=run.run,
                worker_id=claimed.worker_id,
                because=enum_word(ClaimReason.Name(claimed.because), "CLAIM_REASON_"),
                begin_s=run.begin_s if head_s is None else head_s,
                claimed=event.record_time.ToDatetime(),
            )
        )

    def _mark(self, event: Event) -> None:
        match event.WhichOneof("payload"):
            case "command_requested":
                if event.command_requested.HasField("intervene"):
                    self._asked[event.command_requested.command_id] = event
            case "command_applied":
                if asked := self._asked.pop(event.command_applied.command_id, None):
                    self._intervene(asked, event, event.sim_time_s)
            case "command_rejected":
                if asked := self._asked.pop(event.command_rejected.command_id, None):
                    self._intervene(asked, event, None)
            case "checkpoint_committed":
                made = event.checkpoint_committed.checkpoint
                words = made.name or enum_word(CheckpointCause.Name(made.cause), "CHECKPOINT_CAUSE_")
                mark = Mark(MarkKind.CHECKPOINT, event.run, made.sim_time_s, words, identity=made.checkpoint_id)
                self.marks.append(mark)
            case "checkpoint_deleted":
                for mark in self.marks:
                    if mark.identity == event.checkpoint_deleted.checkpoint_id:
                        mark.gone = True
            case "milestone_reached":
                reached = event.milestone_reached
                words = f"milestone {reached.rule + 1} at {reached.value:g}"
                self.marks.append(Mark(MarkKind.MILESTONE, event.run, event.sim_time_s, words))
            case _:
                pass

    def _intervene(self, asked: Event, answer: Event, sim_time_s: float | None) -> None:
        command = asked.command_requested
        rejected = f"refused: {answer.command_rejected.message}" if sim_time_s is None else ""
        self.marks.append(
            Mark(
                MarkKind.INTERVENTION,
                answer.run,
                sim_time_s,
                change_words(command.intervene),
                comment="; ".join(words for words in (command.comment, rejected) if words),
                record_time=asked.record_time.ToDatetime(),
            )
        )
