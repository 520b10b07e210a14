"""What the command line shows: JSON for programs, words and pictures for humans."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.json_format import Parse
from google.protobuf.timestamp_pb2 import Timestamp

from milepost.cli.json_form import json_line
from milepost.cli.picture import draw
from milepost.cli.progress import Bars, Lines
from milepost.cli.run_view import RunView
from milepost.cli.series import Series
from milepost.cli.tables import event_line, failure_lines, finding_line
from milepost.event.v1.event_pb2 import Event, IntervalClosed, RunStarted, SessionCompleted
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Finding, Scene
from milepost.session.v1.session_pb2 import Failure, FailureReason, Results, Session, SessionSpec, SessionState

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(seq: int, sim_time_s: float, wall_s: float, **payload) -> Event:
    at = Timestamp()
    at.FromDatetime(START + timedelta(seconds=wall_s))
    return Event(session_id="s", seq=seq, sim_time_s=sim_time_s, record_time=at, **payload)


def interval(seq: int, sim_time_s: float, wall_s: float, running: int) -> Event:
    closed = IntervalClosed(kpis=Kpis(running=running, mean_speed_mps=7.5 if running else -1, arrived=seq))
    return event(seq, sim_time_s, wall_s, interval_closed=closed)


def test_a_completed_session_is_one_object_that_parses_back():
    session = Session(
        session_id="s",
        state=SessionState.SESSION_STATE_COMPLETED,
        seq=2**40,
        results=Results(steps=10, kpis=Kpis(mean_travel_time_s=12.34), state_digest=b"\x01\x02"),
    )

    line = json_line(session)
    form = json.loads(line)

    assert "\n" not in line
    assert form["session_id"] == "s"
    assert form["state"] == "SESSION_STATE_COMPLETED"
    assert form["seq"] == str(2**40)
    assert form["results"]["kpis"]["collisions"] == "0"
    assert form["failure"] is None
    assert Parse(line, Session()) == session


def test_an_unfinished_session_has_null_results():
    assert json.loads(json_line(Session(session_id="s")))["results"] is None


def test_a_view_tells_time_vehicles_and_pace():
    scene = Scene(begin_time_s=100, end_time_s=400)
    view = RunView.of(Session(session_id="s", display_name="rain", scene=scene, spec=SessionSpec()))
    assert (view.state, view.sim_time_s, view.end_s) == ("pending", 100, 400)

    view.apply(event(1, 100, 5, run_started=RunStarted(begin_time_s=100, step_length_s=1)))
    view.apply(interval(2, 160, 7, running=12))

    assert (view.state, view.sim_time_s, view.kpis.running) == ("running", 160, 12)
    assert view.real_time_factor == pytest.approx(30)

    view.apply(event(3, 400, 10, session_completed=SessionCompleted()))
    assert (view.state, view.sim_time_s) == ("completed", 400)


def test_a_request_for_an_earlier_end_is_the_end():
    session = Session(scene=Scene(end_time_s=400), spec=SessionSpec(end_time_s=50))

    assert RunView.of(session).end_s == 50


def test_without_a_terminal_a_run_is_told_in_lines_one_per_state(capsys):
    view, lines = RunView(session_id="s", name="rain", end_s=400), Lines()

    lines.show(view)
    lines.show(view)
    view.apply(event(1, 0, 0, run_started=RunStarted()))
    lines.show(view)

    told = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told] == ["rain: pending", "rain: running"]


def test_a_bar_is_full_when_the_run_completed_before_its_end(capsys):
    view = RunView(session_id="s", name="rain", end_s=None)
    with Bars() as bars:
        bars.show(view)
        view.apply(event(1, 120, 0, session_completed=SessionCompleted()))
        bars.show(view)

    assert "completed" in capsys.readouterr().err


def test_a_failure_is_told_with_its_place_and_sumos_last_words():
    failure = Failure(
        reason=FailureReason.FAILURE_REASON_SCENARIO_INVALID,
        message="SUMO refused the scenario",
        last_words=["Error: no such edge"],
        file="a.rou.xml",
        line=7,
    )

    assert failure_lines(Session(failure=failure)) == [
        "SCENARIO_INVALID: SUMO refused the scenario (a.rou.xml:7)",
        "  Error: no such edge",
    ]


def test_findings_and_events_are_lines():
    assert finding_line(Finding(rule="r", message="bad", file="f.xml", line=3)) == "f.xml:3: bad [r]"
    assert finding_line(Finding(rule="r", message="bad")) == "bad [r]"
    assert event_line(interval(5, 10, 0, running=3)).split() == (
        ["5", "10.0", "s", "interval", "closed", "3", "running,", "5", "arrived,", "7.5", "m/s"]
    )


def test_the_picture_is_a_png(tmp_path):
    series = [Series(seed) for seed in (1, 2)]
    for one in series:
        for step in range(20):
            one.take(interval(step, step * 10.0, step, running=step * one.seed))
        one.take(event(21, 200, 21, session_completed=SessionCompleted()))

    draw(series, tmp_path / "demo.png")

    assert len(series[0].times_s) == 20
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
