"""The report of sessions whose every name is hostile; what is told of attempts, runs and interventions."""

import json
import math
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1 import event_pb2 as events
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.metrics_pb2 import Bucket, QueryMetricsResponse, Series
from milepost.intervention.v1.intervention_pb2 import Close, Intervention, Place
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.report.gather import PHASE_METRICS, Report, ReportedSession, bucket_length_s
from milepost.report.history import History
from milepost.report.markup import tag
from milepost.report.page import page
from milepost.report.panels import PANELS, clock, plots, ticks, time_ticks
from milepost.report.picture import draw
from milepost.session.v1.session_pb2 import Execution, Failure, PlannedPhase, Progress, Results, Session, SessionSpec

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "&lt;b&gt; & {{x}} $x^2$",
    "\u2028\u0000\u202e javascript:alert(1)",
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(seq: int, *, at_s: float = 0, run: int = 1, **payload: Any) -> Event:
    made = Event(seq=seq, run=run, sim_time_s=at_s, **payload)
    made.record_time.FromSeconds(1000 + seq)
    return made


def hostile_session(text: str) -> ReportedSession:
    """A session that carries a text wherever a text can be."""
    phase = PlannedPhase(name=text, duration_s=50)
    session = Session(
        session_id=text,
        display_name=text,
        labels={text: text},
        spec=SessionSpec(scenario_digest=text, plan=[phase]),
        execution=Execution(sumo_version=text, arguments=[text], environment=[text]),
        failure=Failure(message=text, last_words=[text], file=text),
        run=1,
        progress=Progress(sim_time_s=100, step=100, kpis=Kpis(arrived=5)),
    )
    session.forked_from.session_id = text
    history = History(0, lambda _seq, _run: None)
    closing = Intervention(close=Close(place=Place(edge_ids=[text]), vehicle_classes=[text]))
    request = events.CommandRequested(command_id="c", comment=text, intervene=closing)
    refused = events.CommandRequested(command_id="d", comment=text, intervene=closing)
    rejected = events.CommandRejected(command_id="d", message=text, field=text)
    for one in (
        event(1, session_created=events.SessionCreated(display_name=text)),
        event(2, attempt_claimed=events.AttemptClaimed(attempt=1, worker_id=text)),
        event(3, command_requested=request),
        event(4, at_s=30, command_applied=events.CommandApplied(command_id="c")),
        event(5, command_requested=refused),
        event(6, command_rejected=rejected),
        event(7, checkpoint_committed=events.CheckpointCommitted(checkpoint=Checkpoint(checkpoint_id=text, name=text))),
    ):
        history.take(one)
    return ReportedSession(session, history)


def report_of(*sessions: ReportedSession) -> Report:
    ids = [one.session.session_id for one in sessions]
    metrics = QueryMetricsResponse(
        buckets=[Bucket(begin_time_s=at, end_time_s=at + 10) for at in range(0, 100, 10)],
        series=[
            Series(session_id=one, metric=panel.metric, values=[*range(9), math.nan]) for one in ids for panel in PANELS
        ],
    )
    phases = QueryMetricsResponse(
        buckets=[Bucket(begin_time_s=0, end_time_s=50, phase=ids[0])],
        series=[Series(session_id=one, metric=metric, values=[3]) for one in ids for metric in PHASE_METRICS],
    )
    return Report(sessions, metrics, 10, phases, NOW)


class Reader(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(name)
        self.attributes |= {key for key, _ in attributes}
        self._in_script = name == "script"

    def handle_endtag(self, name: str) -> None:
        self._in_script = False

    def handle_data(self, text: str) -> None:
        (self.scripts if self._in_script else self.texts).append(text)


def test_no_name_becomes_a_tag_an_attribute_or_a_script() -> None:
    plain = Reader(page(report_of(hostile_session("plain"))))
    for text in HOSTILE:
        read = Reader(page(report_of(hostile_session(text), hostile_session(text + "2")), title=text))
        assert read.tags <= plain.tags
        assert read.attributes <= plain.attributes
        assert len(read.scripts) == 2
        assert json.loads(read.scripts[0])["names"] == [text, text + "2"]
        assert read.scripts[1] == plain.scripts[1]
        assert any(text.replace("\u0000", "\ufffd") in found for found in read.texts)


def test_nothing_in_a_page_leads_outside() -> None:
    text = page(report_of(hostile_session("s")))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|\bsrc=|\bhref=", text)
    assert "default-src &#x27;none&#x27;" in text


@given(st.text())
def test_text_comes_out_as_it_went_in(text: str) -> None:
    read = Reader(tag("p", text, title=text))
    assert read.tags == {"p"}
    printable = "".join(one if (one >= " " and one != "\x7f") or one in "\t\n\r" else "\ufffd" for one in text)
    assert "".join(read.texts).replace("\r\n", "\n") == printable.replace("\r\n", "\n")


def test_a_picture_is_drawn_of_any_name(tmp_path) -> None:
    picture = tmp_path / "report.png"
    draw(report_of(*(hostile_session(text) for text in HOSTILE)), picture, title=HOSTILE[3])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_history_tells_runs_attempts_and_marks() -> None:
    heads = {5: 40.0}
    history = History(0, lambda seq, _run: heads.get(seq))
    judged = events.RecoveryJudged(verdict=events.Verdict.VERDICT_EXACT, intervals=4)
    made = Checkpoint(checkpoint_id="cp", sim_time_s=20, name="here")
    for one in (
        event(1, session_created=events.SessionCreated()),
        event(2, attempt_claimed=events.AttemptClaimed(attempt=1, worker_id="w1")),
        event(3, run_started=events.RunStarted()),
        event(4, at_s=20, checkpoint_committed=events.CheckpointCommitted(checkpoint=made)),
        event(
            5, attempt_claimed=events.AttemptClaimed(attempt=2, worker_id="w2", because=events.CLAIM_REASON_WORKER_LOST)
        ),
        event(6, run_started=events.RunStarted()),
        event(7, recovery_judged=judged),
        event(9, session_recovered=events.SessionRecovered()),
        event(
            10, run=2, run_opened=events.RunOpened(run=2, base_run=1, sim_time_s=20, because=events.RUN_CAUSE_ROLLBACK)
        ),
        event(11, checkpoint_deleted=events.CheckpointDeleted(checkpoint_id="cp")),
    ):
        history.take(one)
    first, second = history.attempts
    assert (first.begin_s, first.ready_after_s, first.verdict) == (0, 1, "")
    assert (second.begin_s, second.ready_after_s, second.because) == (40, 4, "worker lost")
    assert (second.verdict, second.intervals_again) == ("EXACT", 4)
    assert [(run.run, run.cause, run.begin_s) for run in history.runs] == [(1, "created", 0), (2, "rollback", 20)]
    [mark] = history.marks
    assert (mark.words, mark.sim_time_s, mark.gone) == ("here", 20, True)


@pytest.mark.parametrize(
    ("span_s", "interval_steps", "expected"),
    [(3600, 10, 120), (300, 10, 10), (86400, 10, 3600), (100, 1, 5), (0, 10, 1)],
)
def test_lines_have_round_steps_and_none_shorter_than_an_interval(span_s, interval_steps, expected) -> None:
    progress = Progress(sim_time_s=25200 + span_s, begin_time_s=25200, step=span_s)
    session = Session(spec=SessionSpec(interval_steps=interval_steps), progress=progress, results=Results())
    assert bucket_length_s([session]) == expected


@given(st.floats(0, 1e9), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_within(least: float, span: float) -> None:
    for found in (ticks(least, least + span, 5), time_ticks(least, least + span, 8)):
        assert len(found) <= 200
        assert all(least - span <= one <= least + 2 * span for one in found)


def test_a_flow_is_told_of_whole_stretches_only() -> None:
    answer = QueryMetricsResponse(
        buckets=[Bucket(begin_time_s=at, end_time_s=at + 60) for at in (0, 60, 120)],
        series=[Series(session_id="s", metric=name, values=[5, 10, 3]) for name in ("arrived", "running")],
    )
    lines = {plot.panel.metric: plot.lines[0] for plot in plots(answer, {"s": (30, 150)}, 60)}
    assert lines["arrived"] == [pytest.approx(math.nan, nan_ok=True), 600, pytest.approx(math.nan, nan_ok=True)]
    assert lines["running"] == [5, 10, 3]


def test_a_clock_counts_from_midnight() -> None:
    assert [clock(at_s) for at_s in (0, 25200, 90000)] == ["00:00", "07:00", "25:00"]
    assert clock(59.6, seconds=True) == "00:01:00"
