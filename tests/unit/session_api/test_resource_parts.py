"""Phases, forks and checkpoints of a session, event by event."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from google.protobuf.message import Message
from projected_logs import RUNNING, after

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import (
    CheckpointCommitted,
    CheckpointDeleted,
    CheckpointFailed,
    CheckpointPinned,
    CheckpointStarted,
    IntervalClosed,
    PhaseEnded,
    PhaseStarted,
    RunOpened,
    SessionCancelled,
    SessionCompleted,
    SessionCreated,
    SessionFailed,
    SessionForked,
)
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import (
    Failure,
    ForkOrigin,
    PhaseStatus,
    PlannedPhase,
    SessionSpec,
)

PLANNED = SessionCreated(
    auto_start=True,
    pool="p",
    scene=Scene(begin_time_s=100),
    spec=SessionSpec(plan=[PlannedPhase(name=name, duration_s=20) for name in ("warm", "measure", "cool")]),
)
IN_MEASURE = (PLANNED, *RUNNING[1:], PhaseStarted(phase=0), IntervalClosed(), PhaseEnded(kpis=Kpis(arrived=3)))
IN_MEASURE += (PhaseStarted(phase=1),)
PENDING, ACTIVE, DONE = (
    PhaseStatus.PHASE_STATUS_PENDING,
    PhaseStatus.PHASE_STATUS_ACTIVE,
    PhaseStatus.PHASE_STATUS_DONE,
)
SKIPPED, FAILED = PhaseStatus.PHASE_STATUS_SKIPPED, PhaseStatus.PHASE_STATUS_FAILED


def test_phases_follow_the_log_and_none_stays_open_at_the_end() -> None:
    def statuses(*payloads: Message) -> list[int]:
        return [phase.status for phase in after(*payloads).phases]

    assert statuses(PLANNED) == [PENDING, PENDING, PENDING]
    assert statuses(*IN_MEASURE) == [DONE, ACTIVE, PENDING]
    assert after(*IN_MEASURE).phases[0].kpis.arrived == 3
    assert statuses(*IN_MEASURE, SessionCompleted()) == [DONE, DONE, SKIPPED]
    assert statuses(*IN_MEASURE, SessionFailed(failure=Failure())) == [DONE, FAILED, SKIPPED]
    assert statuses(*IN_MEASURE, SessionCancelled()) == [DONE, FAILED, SKIPPED]


def test_a_run_opened_in_the_midst_of_the_plan_has_the_phases_behind_it_done() -> None:
    opened = RunOpened(run=2, base_run=1, step=30, sim_time_s=130, spec=PLANNED.spec, scene=PLANNED.scene)
    session = after(*IN_MEASURE, SessionCompleted(), opened)
    assert [phase.status for phase in session.phases] == [DONE, ACTIVE, PENDING]
    assert session.phases[0].kpis.arrived == 3
    assert session.phases[1].begin_time_s == 120


def test_a_fork_begins_where_it_was_forked() -> None:
    origin = ForkOrigin(session_id="parent", run=1, step=30, sim_time_s=130)
    child = SessionCreated()
    child.CopyFrom(PLANNED)
    child.forked_from.CopyFrom(origin)
    session = after(child)
    assert session.forked_from.session_id == "parent"
    assert (session.progress.step, session.progress.sim_time_s) == (30, 130)
    assert [phase.status for phase in session.phases] == [DONE, ACTIVE, PENDING]
    assert after(*RUNNING, SessionForked(session_id="child")).forks == ["child"]


def test_checkpoints_are_those_that_stand() -> None:
    made = [CheckpointCommitted(checkpoint=Checkpoint(checkpoint_id=name)) for name in "abc"]
    session = after(
        *RUNNING, *made, CheckpointPinned(checkpoint_id="a", pinned=True), CheckpointDeleted(checkpoint_id="c")
    )
    assert [(one.checkpoint_id, one.pinned) for one in session.checkpoints] == [("a", True), ("b", False)]
    assert session.last_checkpoint.checkpoint_id == "b"
    assert session.checkpoints[0].HasField("create_time")
    writing = after(*RUNNING, CheckpointStarted(checkpoint_id="a"))
    assert list(writing.conditions) == ["writing checkpoint a"]
    assert list(after(*RUNNING, CheckpointStarted(checkpoint_id="a"), made[0]).conditions) == []
    failed = (CheckpointStarted(checkpoint_id="a"), CheckpointFailed(checkpoint_id="a"))
    assert list(after(*RUNNING, *failed).conditions) == []
