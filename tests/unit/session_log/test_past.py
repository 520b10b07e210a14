"""What a new attempt begins with, over runs that continue one another."""

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import (
    CheckpointCommitted,
    CheckpointDeleted,
    CommandApplied,
    CommandRequested,
    Event,
    ForkPast,
    IntervalClosed,
    JournalEntry,
    Paused,
    PhaseEnded,
    RunOpened,
    ScenePrepared,
    SessionCompleted,
    SessionCreated,
    SetPaceCommand,
    StepCommand,
)
from milepost.intervention.v1.intervention_pb2 import Intervention, ScaleDemand
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import ForkOrigin, PhaseKind, PlannedPhase, SessionSpec
from session_log.codec import kind_of
from session_log.fold_past import past_of
from session_log.past import Past

SPEC = SessionSpec(interval_steps=10)
SCENE = Scene(begin_time_s=0, step_length_s=1)


class Log:
    """Events one after the other."""

    def __init__(self, created: SessionCreated | None = None) -> None:
        self.events: list[Event] = []
        self.run = 1
        self.add(created or SessionCreated(spec=SPEC, scene=SCENE))

    def add(self, payload: Message, step: int = 0) -> "Log":
        """One event of the present run."""
        event = Event(seq=len(self.events) + 1, run=self.run, step=step, sim_time_s=step)
        name = next(f.name for f in Event.DESCRIPTOR.fields if f.number == kind_of(payload))
        getattr(event, name).CopyFrom(payload)
        self.events.append(event)
        return self

    def intervals(self, first: int, last: int) -> "Log":
        """Every ten steps."""
        for step in range(first, last + 1, 10):
            self.add(IntervalClosed(state_digest=f"{self.run}:{step}".encode()), step)
        return self

    def intervene(self, name: str, step: int) -> "Log":
        """Asked for and applied."""
        change = Intervention(scale_demand=ScaleDemand(factor=2))
        self.add(CommandRequested(command_id=name, intervene=change), 0)
        return self.add(CommandApplied(command_id=name), step)

    def open(self, *, base: int, step: int, journal_length: int = 0) -> "Log":
        """The next run."""
        opened = RunOpened(run=self.run + 1, base_run=base, step=step, journal_length=journal_length)
        opened.spec.CopyFrom(SPEC)
        opened.scene.CopyFrom(SCENE)
        self.add(opened)
        self.run += 1
        return self

    def past(self, run: int | None = None) -> Past:
        """Of a run, the present one by default."""
        return past_of(self.events, run or self.run)


def digests(past: Past) -> Iterator[str]:
    return (event.interval_closed.state_digest.decode() for event in past.recorded if event.HasField("interval_closed"))


def journal(past: Past) -> list[tuple[str, int]]:
    return [(entry.command_id, entry.step) for entry in past.journal]


def test_a_first_run_is_judged_by_all_it_recorded_and_follows_its_journal() -> None:
    log = Log().add(ScenePrepared()).intervals(10, 30).intervene("a", 33)
    past = log.past()
    assert list(digests(past)) == ["1:10", "1:20", "1:30"]
    assert journal(past) == [("a", 33)]
    # An applied command may lie beyond the last interval: what follows it was simulated with it (R18).
    assert past.head_step == 33


def test_a_run_that_goes_back_inherits_what_came_before_and_nothing_after() -> None:
    log = (
        Log()
        .intervals(10, 20)
        .intervene("a", 20)
        .intervals(30, 50)
        .intervene("b", 40)
        .open(base=1, step=40, journal_length=1)
    )
    log.intervals(50, 60)
    past = log.past()
    assert list(digests(past)) == ["1:10", "1:20", "1:30", "1:40", "2:50", "2:60"]
    assert journal(past) == [("a", 20)]
    assert (past.begin_step, past.begin_journal, past.head_step) == (40, 1, 60)
    assert list(digests(log.past(1))) == ["1:10", "1:20", "1:30", "1:40", "1:50"]


def test_a_run_of_a_run_reaches_no_further_than_the_one_between() -> None:
    log = Log().intervals(10, 90).open(base=1, step=30).intervals(40, 60).open(base=2, step=20).intervals(30, 30)
    past = log.past()
    assert list(digests(past)) == ["1:10", "1:20", "3:30"]
    assert past.holds(run=1, step=20, journal_length=0)
    assert not past.holds(run=1, step=30, journal_length=0)
    assert not past.holds(run=2, step=40, journal_length=0)
    assert not past.holds(run=1, step=10, journal_length=1)


def test_an_interval_and_a_phase_closed_early_by_the_end_are_not_part_of_a_longer_run() -> None:
    spec = SessionSpec(interval_steps=10)
    for name in ("warm", "measure"):
        spec.plan.append(PlannedPhase(name=name, kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=20))
    log = Log(SessionCreated(spec=spec, scene=SCENE)).intervals(10, 20).add(PhaseEnded(phase=0), 20)
    log.add(IntervalClosed(state_digest=b"1:27"), 27).add(PhaseEnded(phase=1), 27).add(SessionCompleted(), 27)
    log.open(base=1, step=27)
    log.events[-1].run_opened.spec.CopyFrom(spec)
    past = log.past()
    assert list(digests(past)) == ["1:10", "1:20"]
    assert [event.phase_ended.phase for event in past.recorded if event.HasField("phase_ended")] == [0]
    assert past.head_step == 27
    assert past.completed is None
    assert log.past(1).completed is not None


def test_a_restart_inherits_nothing() -> None:
    log = Log().intervals(10, 90).intervene("a", 95).open(base=0, step=0)
    past = log.past()
    assert (list(digests(past)), journal(past), past.head_step) == ([], [], 0)


def test_the_pace_is_taken_up_where_it_was() -> None:
    log = Log().add(CommandRequested(command_id="p", set_pace=SetPaceCommand(factor=10)))
    log.add(CommandApplied(command_id="p"), 5)
    assert (log.past().pacing.factor, log.past().pacing.hold_at_step) == (10, None)
    log.add(CommandRequested(command_id="s", step=StepCommand(steps=7))).add(CommandApplied(command_id="s"), 10)
    assert (log.past().pacing.factor, log.past().pacing.hold_at_step) == (10, 17)
    assert not log.past().pacing.standing
    log.add(Paused(), 17)
    assert log.past().pacing.standing
    assert log.past().head_step == 17


def test_a_fork_begins_with_the_journal_of_its_origin_and_writes_nothing_up_to_it() -> None:
    created = SessionCreated(spec=SPEC, scene=SCENE, forked_from=ForkOrigin(session_id="parent", run=1, step=40))
    log = Log(created).intervals(50, 60).intervene("mine", 60)
    origin = ForkPast(journal=[JournalEntry(step=12, command_id="theirs")])
    past = past_of(log.events, 1, origin)
    assert journal(past) == [("theirs", 12), ("mine", 60)]
    assert (past.begin_step, past.head_step) == (40, 60)
    log.open(base=1, step=50, journal_length=1)
    assert journal(past_of(log.events, 2, origin)) == [("theirs", 12)]


def test_checkpoints_that_were_deleted_do_not_stand() -> None:
    log = Log()
    for name in ("a", "b"):
        log.add(CheckpointCommitted(checkpoint=Checkpoint(checkpoint_id=name)))
    log.add(CheckpointDeleted(checkpoint_id="a"))
    assert [made.checkpoint_id for made in log.past().checkpoints] == ["b"]


def test_an_unknown_run_is_refused() -> None:
    with pytest.raises(ValueError, match="no run 3"):
        Log().past(3)
