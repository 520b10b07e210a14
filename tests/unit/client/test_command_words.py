"""What is written on the command line: interventions, plans, paces; and how events are told."""

import json

import pytest
import typer
from typer.testing import CliRunner

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointCause
from milepost.cli.interventions import Wish, intervention_of, interventions_in, planned_in
from milepost.cli.main import app
from milepost.cli.run import pace_of, plan_of
from milepost.cli.run_view import RunView
from milepost.cli.tables import event_line
from milepost.cli.words import change_words, gist
from milepost.event.v1 import event_pb2 as ev
from milepost.intervention.v1 import intervention_pb2 as iv
from milepost.session.v1.session_pb2 import PhaseKind


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(close_edges=["-E1", "E2,E3"], classes=["bus"]), "close edges -E1, E2, E3 for bus"),
        (Wish(close_edges=["E1"], close_lanes=["E2_0"]), "close edge E1 and lane E2_0"),
        (Wish(open_lanes=["E2_0"]), "open lane E2_0"),
        (Wish(speed="a=b=13.9"), "limit edge a=b to 13.9 m/s"),
        (Wish(signal="J=1=program:night"), "set signal J=1 to program night"),
        (Wish(signal="J1=phase:2"), "set signal J1 to phase 2"),
        (Wish(signal="J1=state:rGr"), "set signal J1 to rGr"),
        (Wish(scale=0.0), "scale demand by 0"),
        (Wish(stop="v.1=60"), "stop v.1 for 60 s"),
        (Wish(release="v.1"), "release v.1"),
        (Wish(remove=["a", "b,c,d,e,f,g"]), "remove a, b, c, d, e, and 2 more"),
        (Wish(add="v=E1,E2"), "add vehicle v"),
        (Wish(reroute=True), "reroute all vehicles"),
        (Wish(reroute=True, vehicles=["a"], to_edge="E9"), "reroute a to E9"),
    ],
)
def test_options_make_one_intervention_and_it_is_told_in_words(wish, words):
    assert change_words(intervention_of(wish)) == words


@pytest.mark.parametrize(
    "wish",
    [
        Wish(),
        Wish(scale=2, stop="v=1"),
        Wish(speed="E1"),
        Wish(speed="E1=-3"),
        Wish(speed="E1=nan"),
        Wish(stop="=60"),
        Wish(signal="J1=phase:red"),
        Wish(signal="J1"),
        Wish(scale=1, classes=["bus"]),
        Wish(scale=1, vehicles=["v"]),
        Wish(add="v"),
    ],
)
def test_what_is_no_single_change_is_wrong_use(wish):
    with pytest.raises(typer.BadParameter):
        intervention_of(wish)


def test_a_file_holds_what_is_planned_and_when(tmp_path):
    plan, wrong = tmp_path / "plan.json", tmp_path / "wrong.json"
    change = {"scale_demand": {"factor": 2}}
    plan.write_text(json.dumps([{"at_time_s": 28800, "intervention": change}]))
    wrong.write_text(json.dumps(change))

    (planned,) = planned_in(plan)
    assert (planned.at_time_s, planned.intervention.scale_demand.factor) == (28800, 2)
    with pytest.raises(typer.BadParameter):
        planned_in(wrong)


def test_a_file_holds_one_intervention_or_a_list_in_proto3_json(tmp_path):
    one, several, wrong = tmp_path / "one.json", tmp_path / "several.json", tmp_path / "wrong.json"
    one.write_text(json.dumps({"scale_demand": {"factor": 2}}))
    several.write_text(json.dumps([{"scaleDemand": {"factor": 2}}, {"releaseVehicle": {"vehicleId": "v"}}]))
    wrong.write_text(json.dumps({"scale": 2}))

    assert interventions_in(one) == [iv.Intervention(scale_demand=iv.ScaleDemand(factor=2))]
    assert [change_words(change) for change in interventions_in(several)] == ["scale demand by 2", "release v"]
    assert intervention_of(Wish(file=one)).scale_demand.factor == 2
    for refused in (lambda: interventions_in(wrong), lambda: interventions_in(tmp_path / "no.json")):
        with pytest.raises(typer.BadParameter):
            refused()
    with pytest.raises(typer.BadParameter):
        intervention_of(Wish(file=several))


def test_a_plan_is_phases_one_after_the_other():
    phases = plan_of("warm:600, rush=measure:3000,calm=measure:1200.5,cool:300")

    assert [(phase.name, phase.duration_s) for phase in phases] == [
        ("warm", 600), ("rush", 3000), ("calm", 1200.5), ("cool", 300)
    ]  # fmt: skip
    assert [phase.kind for phase in phases] == [
        PhaseKind.PHASE_KIND_WARM_UP,
        PhaseKind.PHASE_KIND_MEASURE,
        PhaseKind.PHASE_KIND_MEASURE,
        PhaseKind.PHASE_KIND_COOL_DOWN,
    ]
    for wrong in ("", "warm", "warm:0", "hot:5", "warm:600,warm:5"):
        with pytest.raises(typer.BadParameter):
            plan_of(wrong)


def test_a_pace_is_a_factor_or_max():
    assert (pace_of("max"), pace_of("2.5"), pace_of("10x")) == (0, 2.5, 10)
    for wrong in ("0", "-1", "fast", "nan", "inf"):
        with pytest.raises(typer.BadParameter):
            pace_of(wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback", "s"],
        ["rollback", "s", "--to", "5", "--checkpoint", "c"],
        ["fork", "s", "--at", "5", "--checkpoint", "c"],
        ["pace", "s"],
        ["intervene", "s"],
        ["step", "s", "0"],
        ["run", "x", "--recovery", "hope"],
        ["run", "x", "--plan", "hope"],
        ["run", "x", "--pace", "hope"],
    ],
)
def test_wrong_use_is_told_before_a_server_is_looked_for(arguments):
    result = CliRunner().invoke(app, [*arguments, "--server", "127.0.0.1:1"])

    assert result.exit_code == 2, result.output


KINDS = [field.name for field in ev.Event.DESCRIPTOR.oneofs_by_name["payload"].fields]
VERBS = [field.name for field in ev.CommandRequested.DESCRIPTOR.oneofs_by_name["verb"].fields]
CHANGES = [field.name for field in iv.Intervention.DESCRIPTOR.oneofs_by_name["change"].fields]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_is_a_line(kind):
    event = ev.Event(seq=7, sim_time_s=60)
    getattr(event, kind).SetInParent()

    assert event_line(event).split()[:3] == ["7", "60.0", "s"]
    assert kind.replace("_", " ") in event_line(event)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_words(verb):
    requested = ev.CommandRequested(comment="because")
    getattr(requested, verb).SetInParent()

    words = gist(ev.Event(command_requested=requested))

    assert words.endswith(": because")
    assert len(words) > len(": because") + 2


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_has_words(change):
    intervention = iv.Intervention()
    getattr(intervention, change).SetInParent()

    assert change_words(intervention)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (
            {"recovery_judged": ev.RecoveryJudged(verdict=ev.VERDICT_EXACT, intervals=30, start=ev.START_KIND_ORIGIN)},
            "EXACT, 30 intervals again from origin at step 0",
        ),
        (
            {
                "recovery_judged": ev.RecoveryJudged(
                    verdict=ev.VERDICT_DIVERGED, intervals=3, start=ev.START_KIND_STATE_FILE, start_step=10,
                    diverged_step=50, difference="kpis.arrived 5 instead of 4",
                )
            },
            "DIVERGED, 3 intervals again from state file at step 10; step 50: kpis.arrived 5 instead of 4",
        ),
        (
            {"run_opened": ev.RunOpened(run=2, because=ev.RUN_CAUSE_ROLLBACK, base_run=1, sim_time_s=60)},
            "run 2, rollback from 60 s of run 1",
        ),
        ({"run_opened": ev.RunOpened(run=3, because=ev.RUN_CAUSE_RESTART)}, "run 3, restart from the origin"),
        (
            {
                "checkpoint_committed": ev.CheckpointCommitted(
                    checkpoint=Checkpoint(
                        checkpoint_id="c1", name="before", cause=CheckpointCause.CHECKPOINT_CAUSE_REQUEST
                    )
                )
            },
            "c1 'before', request",
        ),
        ({"command_rejected": ev.CommandRejected(message="no such edge", field="close.place")},
         "no such edge (close.place)"),
        ({"attempt_claimed": ev.AttemptClaimed(attempt=2, worker_id="w", because=ev.CLAIM_REASON_WORKER_LOST)},
         "attempt 2 by w, worker lost"),
    ],
)  # fmt: skip
def test_what_happened_is_told_in_words(payload, words):
    assert gist(ev.Event(**payload)) == words


def requested(command_id: str, **verb) -> ev.Event:
    return ev.Event(command_requested=ev.CommandRequested(command_id=command_id, **verb))


def applied(command_id: str) -> ev.Event:
    return ev.Event(command_applied=ev.CommandApplied(command_id=command_id))


def claimed(because: ev.ClaimReason.ValueType) -> ev.Event:
    return ev.Event(attempt_claimed=ev.AttemptClaimed(because=because))


def test_a_view_follows_a_session_through_its_turns():
    view = RunView(session_id="s", name="s", end_s=100)
    log = [
        (claimed(ev.CLAIM_REASON_NEW), "preparing"),
        (ev.Event(run_started=ev.RunStarted()), "running"),
        (requested("1", set_pace=ev.SetPaceCommand(paused=True)), "running"),
        (applied("1"), "running"),
        (ev.Event(paused=ev.Paused()), "paused"),
        (requested("2", step=ev.StepCommand(steps=1)), "paused"),
        (applied("2"), "running"),
        (requested("3", suspend=ev.SuspendCommand()), "suspending"),
        (ev.Event(paused=ev.Paused()), "suspending"),
        (applied("3"), "suspended"),
        (requested("4", resume=ev.ResumeCommand()), "suspended"),
        (applied("4"), "pending"),
        (claimed(ev.CLAIM_REASON_RESUMED), "recovering"),
        (ev.Event(session_recovered=ev.SessionRecovered()), "running"),
        (requested("5", suspend=ev.SuspendCommand()), "suspending"),
        (ev.Event(command_rejected=ev.CommandRejected(command_id="5")), "running"),
        (requested("6", terminate=ev.TerminateCommand()), "terminating"),
        (ev.Event(session_completed=ev.SessionCompleted()), "completed"),
        (applied("6"), "completed"),
        (ev.Event(run_opened=ev.RunOpened(run=2, sim_time_s=40)), "pending"),
        (claimed(ev.CLAIM_REASON_NEW_RUN), "preparing"),
    ]

    states = []
    for event, _ in log:
        view.apply(event)
        states.append(view.state)

    assert states == [state for _, state in log]
    assert view.sim_time_s == 40
