"""Commands of the command line against a server that says what a test scripts: output, questions, exit codes."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from click.testing import Result
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from typer.testing import CliRunner

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointPolicy, Exactness, StateFile
from milepost.cli.main import app
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Attempt, ForkOrigin, Pace, Phase, PlannedPhase, Session, SessionState
from milepost.session.v1.session_service_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server
from milepost.session.v1.statistics_pb2 import (
    ClaimCount,
    Distribution,
    GetStatisticsResponse,
    StateCount,
    WorkerStatistics,
)
from milepost.state.v1.state_pb2 import SimulationState, Vehicles

WIDE = {"COLUMNS": "160"}


class Scripted(SessionServiceServicer):
    """Gives the answer a test put under a method's name, else an empty one; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Message] = {}
        self.asked: list[Any] = []

    def __getattribute__(self, name: str) -> object:
        method = pb.DESCRIPTOR.services_by_name["SessionService"].methods_by_name.get(name)
        if method is None:
            return super().__getattribute__(name)

        def answer(request: Message, _context: object) -> Message:
            self.asked.append(request)
            return self.answers.get(name, GetMessageClass(method.output_type)())

        return answer


@pytest.fixture
def server() -> Iterator[tuple[Scripted, str]]:
    """A scripted server and its address. Of threads, because a command brings its own event loop."""
    scripted = Scripted()
    running = grpc.server(ThreadPoolExecutor(2))
    add_SessionServiceServicer_to_server(scripted, running)
    address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield scripted, address
    running.stop(None).wait()


@pytest.fixture
def scripted(server: tuple[Scripted, str]) -> Scripted:
    return server[0]


Command = Callable[..., Result]


@pytest.fixture
def milepost(server: tuple[Scripted, str]) -> Command:
    """`milepost("suspend", "s")`: the command line against the scripted server."""

    def run(*arguments: str) -> Result:
        address = server[1]
        return CliRunner().invoke(app, [*arguments, "--server", address, "--event-store", address], env=WIDE)

    return run


def session(**fields: Any) -> Session:
    return Session(session_id="s", state=SessionState.SESSION_STATE_RUNNING, seq=9, **fields)


@pytest.mark.parametrize("prefix", [(), ("sessions",)])
@pytest.mark.parametrize(
    ("words", "method", "asked"),
    [
        (["suspend", "s"], "SuspendSession", pb.SuspendSessionRequest()),
        (["resume", "s", "--end", "90"], "ResumeSession", pb.ResumeSessionRequest(end_time_s=90)),
        (["resume", "s", "--checkpoint", "c"], "ResumeSession", pb.ResumeSessionRequest(checkpoint_id="c")),
        (["restart", "s"], "RestartSession", pb.RestartSessionRequest()),
        (["terminate", "s"], "TerminateSession", pb.TerminateSessionRequest()),
        (["rm", "s"], "DeleteSession", pb.DeleteSessionRequest()),
        (["undelete", "s"], "UndeleteSession", pb.UndeleteSessionRequest()),
        (["rollback", "s", "--to", "60"], "RollbackSession", pb.RollbackSessionRequest(sim_time_s=60)),
        (["fork", "s", "--at", "60"], "ForkSession", pb.ForkSessionRequest(sim_time_s=60)),
        (["fork", "s", "--id", "n"], "ForkSession", pb.ForkSessionRequest(new_session_id="n")),
        (["pace", "s", "5"], "SetPace", pb.SetPaceRequest(factor=5)),
        (["pace", "s", "max"], "SetPace", pb.SetPaceRequest(factor=0)),
    ],
)  # fmt: skip
def test_a_command_prints_the_session_as_json_or_words(server, milepost, prefix, words, method, asked):  # noqa: PLR0917
    scripted = server[0]
    answer = pb.DESCRIPTOR.services_by_name["SessionService"].methods_by_name[method].output_type
    scripted.answers[method] = getattr(pb, answer.name)(session=session())

    told = milepost(*prefix, *words)
    written = milepost(*prefix, *words, "--output", "json")

    assert (told.exit_code, written.exit_code) == (0, 0)
    assert "session s: running" in told.stdout
    assert json.loads(written.stdout)["session_id"] == "s"
    asked.session_id = "s"
    assert len(scripted.asked) == 2
    for request in scripted.asked:
        request.request_id = ""
        assert request == asked


def test_a_pause_keeps_the_pace(milepost, scripted):
    scripted.answers["GetSession"] = pb.GetSessionResponse(session=session(pace=Pace(factor=4)))
    scripted.answers["SetPace"] = pb.SetPaceResponse(session=session(pace=Pace(factor=4, paused=True)))

    paused = milepost("pace", "s", "--pause")

    assert (scripted.asked[-1].factor, scripted.asked[-1].paused) == (4, True)
    assert "pace 4 x real time, paused" in paused.stdout


def test_labels_and_limits_that_are_not_named_stay_as_they_are(milepost, scripted):
    old = session(labels={"a": "1", "b": "2"}, etag="e")
    old.spec.checkpoints.CopyFrom(CheckpointPolicy(every_sim_s=60, at_milestones=True))
    scripted.answers["GetSession"] = pb.GetSessionResponse(session=old)
    scripted.answers["UpdateSession"] = pb.UpdateSessionResponse(session=old)

    done = milepost("update", "s", "--name", "n", "--label", "b=", "--label", "c=3", "--keep-last", "5")

    assert done.exit_code == 0
    request = scripted.asked[-1]
    assert list(request.update_mask.paths) == ["display_name", "labels", "spec.checkpoints"]
    assert (request.display_name, dict(request.labels), request.etag) == ("n", {"a": "1", "c": "3"}, "e")
    assert request.spec.checkpoints == CheckpointPolicy(every_sim_s=60, at_milestones=True, keep_last=5)


def test_a_checkpoint_is_told_and_one_that_is_not_made_yet_is_a_failure(milepost, scripted):
    asked_for = milepost("checkpoint", "s")
    scripted.answers["CreateCheckpoint"] = pb.CreateCheckpointResponse(
        checkpoint=Checkpoint(checkpoint_id="c1", sim_time_s=60)
    )
    made = milepost("checkpoint", "s", "--name", "n", "--pin", "--state-file")

    assert (asked_for.exit_code, made.exit_code) == (1, 0)
    assert made.stdout == "checkpoint c1 at 60 s\n"
    request = scripted.asked[-1]
    assert (request.name, request.pinned, request.state_file) == ("n", True, True)


def test_a_name_is_text_in_every_table(milepost, scripted):
    named = session(display_name="[/b] <b> [red]rush[/red]")
    scripted.answers["GetSession"] = pb.GetSessionResponse(session=named)
    scripted.answers["ListSessions"] = pb.ListSessionsResponse(sessions=[named])
    for command in (("sessions", "list"), ("sessions", "get", "s")):
        assert named.display_name in milepost(*command).output


def test_statistics_are_tables(milepost, scripted):
    scripted.answers["GetStatistics"] = GetStatisticsResponse(
        sessions=3,
        states=[StateCount(state=SessionState.SESSION_STATE_RUNNING, sessions=3)],
        claims=[ClaimCount(because="the worker before did not answer any more", attempts=2)],
        recovery_s=Distribution(count=2, min=1, mean=1.5, p50=1, p90=2, max=2),
        workers=[WorkerStatistics(worker_id="[w1]", present=True, slots=4, busy=3, lost=2)],
    )
    shown = milepost("stats", "--hours", "5", "--label", "a=b").output
    assert [words for words in ("3 running", "did not answer", "1.5 s", "[w1]", "3/4") if words not in shown] == []
    [asked] = scripted.asked
    assert (dict(asked.labels), asked.HasField("since")) == ({"a": "b"}, True)


def test_checkpoints_are_a_table_with_the_lineage(milepost, scripted):
    found = session(
        checkpoints=[
            Checkpoint(checkpoint_id="c1", name="before", run=2, step=600, sim_time_s=60, pinned=True),
            Checkpoint(checkpoint_id="c2", state_file=StateFile(size_bytes=2_500_000)),
        ],
        forked_from=ForkOrigin(session_id="parent", run=1, sim_time_s=30),
        forks=["child-1", "child-2"],
    )
    scripted.answers["GetSession"] = pb.GetSessionResponse(session=found)

    told = milepost("checkpoints", "s")
    written = json.loads(milepost("checkpoints", "s", "--output", "json").stdout)
    milepost("checkpoints", "s", "--unpin", "c1", "--delete", "c2")

    assert "before" in told.stdout
    assert "2.5 MB" in told.stdout
    assert "forked from parent at 30 s of run 1" in told.stdout
    assert told.stdout.count("fork child-") == 2
    assert [one["checkpoint_id"] for one in written["checkpoints"]] == ["c1", "c2"]
    assert (written["forked_from"]["session_id"], written["forks"]) == ("parent", ["child-1", "child-2"])
    unpin, delete, _ = scripted.asked[-3:]
    assert (unpin.checkpoint_id, unpin.pinned, delete.checkpoint_id) == ("c1", False, "c2")


def test_an_intervention_is_told_with_where_it_was_applied(milepost, scripted):
    tried = milepost("intervene", "s", "--scale", "2", "--validate-only")
    waiting = milepost("intervene", "s", "--scale", "2", "--comment", "rush")
    scripted.answers["ApplyIntervention"] = pb.ApplyInterventionResponse(applied=True, step=600, sim_time_s=60)
    applied = milepost("intervene", "s", "--close-edge", "-E1", "--class", "bus")

    assert tried.stdout == "possible: scale demand by 2\n"
    assert "not applied yet" in waiting.stdout
    assert applied.stdout == "close edge -E1 for bus: applied at 60 s, step 600\n"
    assert [request.validate_only for request in scripted.asked] == [True, False, False]
    assert scripted.asked[1].comment == "rush"


def test_a_verified_session_is_exact_and_another_exit_code_says_where_it_differs(milepost, scripted):
    scripted.answers["VerifySession"] = pb.VerifySessionResponse(exact=True, records=31)
    exact = milepost("verify", "s", "--run", "2")
    scripted.answers["VerifySession"] = pb.VerifySessionResponse(records=3, diverged_step=40, difference="kpis.arrived")
    diverged = milepost("verify", "s")

    assert (exact.exit_code, exact.stdout) == (0, "EXACT: 31 records simulated again, all equal\n")
    assert scripted.asked[0].run == 2
    assert diverged.exit_code == 1
    assert diverged.stdout == "DIVERGED at step 40, after 3 equal records: kpis.arrived\n"


def test_a_state_is_a_summary_for_humans_and_whole_for_programs(milepost, scripted):
    state = SimulationState(
        step=600, sim_time_s=60, kpis=Kpis(halting=7), vehicles=Vehicles(ids=["a", "b"], x=[1, 2], y=[3, 4])
    )
    scripted.answers["GetSessionState"] = pb.GetSessionStateResponse(state=state)

    told = milepost("state", "s", "--at", "0")
    written = json.loads(milepost("state", "s", "--output", "json").stdout)

    assert [line.split() for line in told.stdout.splitlines()][:2] == [
        ["simulated", "60", "s,", "step", "600"],
        ["vehicles", "2"],
    ]
    assert written["vehicles"]["ids"] == ["a", "b"]
    assert [request.HasField("sim_time_s") for request in scripted.asked] == [True, False]


def test_an_explanation_is_sentences(milepost, scripted):
    scripted.answers["ExplainSession"] = pb.ExplainSessionResponse(
        sentences=["It waits.", "Nobody is there."], waiting=3, workers=0, free_slots=0
    )

    told = milepost("explain", "s").stdout.splitlines()

    assert told[:2] == ["It waits.", "Nobody is there."]
    assert told[2] == "its pool: 0 workers, 0 free slots, 3 sessions waiting"


def test_a_session_is_shown_with_what_it_went_through(milepost, scripted):
    found = session(
        attempts=[
            Attempt(attempt=2, run=1, worker_id="w2", because="worker lost", verdict="EXACT", intervals_again=40)
        ],
        forks=["child"],
        exactness=Exactness.EXACTNESS_AGREED,
        phases=[Phase(planned=PlannedPhase(name="warm", duration_s=600))],
        pace=Pace(factor=2, paused=True),
        labels={"team": "a"},
    )
    scripted.answers["GetSession"] = pb.GetSessionResponse(session=found)

    told = milepost("sessions", "get", "s").stdout

    for words in (
        "2 of run 1 by w2, worker lost; EXACT, 40 intervals again",
        "child",
        "agreed",
        "warm, 600 s",
        "2 x real time, paused",
        "team=a",
    ):
        assert words in told


def test_a_selftest_stops_at_what_does_not_hold_says_so_and_still_cleans_up(milepost, scripted):
    scripted.answers["CreateDemoSession"] = pb.CreateDemoSessionResponse(session=session())
    ended = Session(session_id="s", state=SessionState.SESSION_STATE_COMPLETED)
    scripted.answers["GetSession"] = pb.GetSessionResponse(session=ended)

    tried = milepost("selftest", "--output", "json")

    written = json.loads(tried.stdout)
    assert tried.exit_code == 1
    assert written["ok"] is False
    outcomes = [one["outcome"] for one in written["steps"]]
    assert outcomes == ["failed", *["not tried"] * (len(outcomes) - 2), "ok"]
    assert "kill its worker" not in [one["step"] for one in written["steps"]]
    assert isinstance(scripted.asked[-1], pb.DeleteSessionRequest)
