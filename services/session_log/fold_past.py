"""Fold a log's events into the past of one of its runs (see past.py)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import (
    CommandRequested,
    Event,
    ForkPast,
    JournalEntry,
    RunCause,
    RunOpened,
    SessionCreated,
    SessionUpdated,
    SetPaceCommand,
)
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import SessionSpec
from session_log.codec import SIMULATION_KINDS, TERMINAL_KINDS, event_kind
from session_log.past import Pacing, Past, Reach


@dataclass(slots=True)
class _Run:
    """One run's own part."""

    spec: SessionSpec
    scene: Scene
    base: "_Run | None" = None
    step: int = 0
    journal_length: int = 0
    journal: list[JournalEntry] = field(default_factory=list)
    recorded: list[Event] = field(default_factory=list)
    rebased: list[Checkpoint] = field(default_factory=list)
    head_step: int = 0
    pacing: Pacing = field(default_factory=Pacing)
    number: int = 1
    started_at: datetime | None = None
    completed: Event | None = None

    def reaches(self) -> list[Reach]:
        """The runs it continues, each no further than those between reach."""
        if self.base is None:
            return []
        return [
            Reach(self.base.number, self.step, self.journal_length),
            *(
                Reach(far.run, min(far.step, self.step), min(far.journal_length, self.journal_length))
                for far in self.base.reaches()
            ),
        ]

    @property
    def begun(self) -> bool:
        """Whether it has simulated anything, or stands on a past: its seed is settled then."""
        return self.step > 0 or bool(self.whole_record())

    def update(self, updated: SessionUpdated) -> None:
        """Take over what UpdateSession changed; another seed is for the next run that begins at the origin."""
        seed = self.spec.seed if self.begun else updated.spec.seed
        self.spec, self.scene = SessionSpec(), updated.scene
        self.spec.CopyFrom(updated.spec)
        self.spec.seed = seed

    def whole_journal(self) -> list[JournalEntry]:
        """Inherited, then own."""
        return [*(self.base.whole_journal()[: self.journal_length] if self.base else ()), *self.journal]

    def whole_rebased(self) -> list[Checkpoint]:
        """Inherited, then own."""
        inherited = self.base.whole_rebased() if self.base else []
        return [*(made for made in inherited if made.step <= self.step), *self.rebased]

    def whole_record(self) -> list[Event]:
        """Inherited, then own. What a base closed early because it ended there is not part of a longer run."""
        if self.base is None:
            return list(self.recorded)
        inherited = [
            event for event in self.base.whole_record() if event.step <= self.step and not self._closed_early(event)
        ]
        return [*inherited, *self.recorded]

    def _closed_early(self, event: Event) -> bool:
        """Whether it closes an interval or a phase only because a run ended there."""
        if event.HasField("interval_closed"):
            return bool(event.step % max(1, self.spec.interval_steps))
        if event.HasField("phase_ended"):
            planned_s = sum(phase.duration_s for phase in self.spec.plan[: event.phase_ended.phase + 1])
            return event.sim_time_s < self.scene.begin_time_s + planned_s - 1e-9
        return False


def wish_after(wish: SessionUpdated, opened: RunOpened) -> SessionUpdated:
    """What is asked for once a run was opened.

    A run that continues another keeps its seed and options; what was wished for them meanwhile waits for a restart.
    """
    after = SessionUpdated()
    after.CopyFrom(wish)
    after.spec.CopyFrom(opened.spec)
    after.scene.CopyFrom(opened.scene)
    if opened.because != RunCause.RUN_CAUSE_RESTART:
        _copy_inputs(wish.spec, after.spec)
    return after


def _copy_inputs(source: SessionSpec, target: SessionSpec) -> None:
    target.seed = source.seed
    del target.options[:]
    target.options.extend(source.options)


def past_of(events: Iterable[Event], run: int, origin: ForkPast | None = None) -> Past:
    """The past of a run from a log's events, which may be of PAST_KINDS only. Raises ValueError for an unknown run.

    `origin` is the ForkPast that SessionCreated names, where it names one.
    """
    log = _Log(origin or ForkPast())
    for event in events:
        log.take(event)
    if run not in log.runs:
        raise ValueError(f"no run {run}")
    found = log.runs[run]
    return Past(
        run=run,
        created=log.created,
        spec=found.spec,
        scene=found.scene,
        begin_step=found.step,
        begin_journal=found.journal_length,
        journal=found.whole_journal(),
        recorded=found.whole_record(),
        head_step=found.head_step,
        pacing=found.pacing,
        checkpoints=tuple(log.checkpoints.values()),
        rebased=found.whole_rebased(),
        ancestors=found.reaches(),
        started_at=found.started_at,
        completed=found.completed,
    )


class _Log:
    """A log as it is read, event by event."""

    def __init__(self, origin: ForkPast) -> None:
        self.created = SessionCreated()
        self.runs: dict[int, _Run] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self._origin = origin
        self._requested: dict[str, CommandRequested] = {}
        self._current = _Run(SessionSpec(), Scene())

    def take(self, event: Event) -> None:
        """One more."""
        # A command may be asked for in one run and applied in the next.
        self._current = current = self.runs.get(event.run, self._current)
        match event.WhichOneof("payload"):
            case "session_created":
                self._create(event.session_created)
            case "run_opened":
                self._open(event.run_opened)
            case "session_updated":
                _update(current, event.session_updated)
            case "command_requested":
                self._requested[event.command_requested.command_id] = event.command_requested
            case "command_applied":
                _apply(current, self._requested.get(event.command_applied.command_id), event)
            case "run_started":
                current.started_at = current.started_at or event.record_time.ToDatetime(UTC)
            case "paused":
                current.head_step = max(current.head_step, event.step)
                current.pacing = Pacing(current.pacing.factor, hold_at_step=event.step, standing=True)
            case "session_completed":
                current.completed = event
            case _:
                self._take_thing(event)

    def _take_thing(self, event: Event) -> None:
        match event.WhichOneof("payload"):
            case "checkpoint_committed":
                made = event.checkpoint_committed.checkpoint
                self.checkpoints[made.checkpoint_id] = made
                if made.state_file.rebased:
                    self._current.rebased.append(made)
            case "checkpoint_pinned":
                if pinned := self.checkpoints.get(event.checkpoint_pinned.checkpoint_id):
                    pinned.pinned = event.checkpoint_pinned.pinned
            case "checkpoint_deleted":
                self.checkpoints.pop(event.checkpoint_deleted.checkpoint_id, None)
            case None:
                pass
            case _:
                if event_kind(event) in SIMULATION_KINDS - TERMINAL_KINDS:
                    self._current.recorded.append(event)
                    self._current.head_step = max(self._current.head_step, event.step)

    def _create(self, created: SessionCreated) -> None:
        self.created, fork = created, created.forked_from
        self.runs[1] = self._current = _Run(
            created.spec,
            created.scene,
            step=fork.step,
            journal_length=len(self._origin.journal),
            journal=list(self._origin.journal),
            rebased=list(self._origin.rebased),
            head_step=fork.step,
            pacing=Pacing(created.spec.pace, hold_at_step=fork.step if created.spec.start_paused else None),
        )

    def _open(self, opened: RunOpened) -> None:
        before = self._current.pacing
        pacing = Pacing(opened.spec.pace, hold_at_step=opened.step if opened.spec.start_paused else None)
        if opened.base_run:
            # It goes on as it went; what stood stands again, where the new run begins.
            stands = opened.because == RunCause.RUN_CAUSE_ROLLBACK and before.standing
            pacing = Pacing(before.factor, hold_at_step=opened.step if stands else None)
        self.runs[opened.run] = self._current = _Run(
            opened.spec,
            opened.scene,
            base=self.runs.get(opened.base_run),
            step=opened.step,
            journal_length=opened.journal_length,
            head_step=opened.step,
            number=opened.run,
            pacing=pacing,
        )


def _update(run: _Run, updated: SessionUpdated) -> None:
    """What was asked for anew, as far as it concerns a run that may have begun."""
    spec, scene = SessionSpec(), Scene()
    spec.CopyFrom(updated.spec)
    scene.CopyFrom(updated.scene)
    if run.started_at is not None or run.base is not None:
        _copy_inputs(run.spec, spec)
        del scene.options[:]
        scene.options.extend(run.scene.options)
    run.spec, run.scene = spec, scene


def _paced(pacing: Pacing, command: SetPaceCommand, step: int) -> Pacing:
    """Another pace. A hold that is still ahead stays, unless it is to stand now."""
    if command.paused:
        return Pacing(command.factor, hold_at_step=step)
    if pacing.standing or (pacing.hold_at_step is not None and pacing.hold_at_step <= step):
        return Pacing(command.factor)
    return replace(pacing, factor=command.factor)


def _apply(run: _Run, command: CommandRequested | None, event: Event) -> None:
    """One command that was carried out at `event.step`."""
    match command.WhichOneof("verb") if command else None:
        case "intervene":
            assert command is not None
            run.journal.append(
                JournalEntry(step=event.step, command_id=command.command_id, intervention=command.intervene)
            )
        case "set_pace":
            assert command is not None
            run.pacing = _paced(run.pacing, command.set_pace, event.step)
        case "step":
            assert command is not None
            run.pacing = Pacing(run.pacing.factor, hold_at_step=event.step + command.step.steps)
        case "run_until":
            assert command is not None
            run.pacing = Pacing(run.pacing.factor, hold_at_time_s=command.run_until.sim_time_s)
        case _:
            return
    run.head_step = max(run.head_step, event.step)
