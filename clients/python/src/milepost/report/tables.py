"""The tables of a report."""

import math
import shlex
from collections.abc import Iterable, Iterator, Sequence

from milepost.checkpoint.v1.checkpoint_pb2 import Exactness
from milepost.cli.tables import failure_lines, state_word
from milepost.cli.words import enum_word
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.report.gather import PHASE_METRICS, Report, ReportedSession
from milepost.report.history import MarkKind
from milepost.report.markup import Markup, join, tag
from milepost.report.panels import COLOURS, clock
from milepost.session.v1.session_pb2 import CompletionReason

# Field of the KPIs, head and decimals of each result in the first table.
_RESULTS = (
    ("departed", "Departed", 0),
    ("arrived", "Arrived", 0),
    ("running", "Still in the network", 0),
    ("mean_travel_time_s", "Travel time, s", 1),
    ("mean_time_loss_s", "Time lost, s", 1),
    ("mean_waiting_time_s", "Standing, s", 1),
    ("mean_depart_delay_s", "Departure delay, s", 1),
    ("mean_trip_speed_mps", "Trip speed, km/h", 1),
    ("teleports", "Teleports", 0),
    ("collisions", "Collisions", 0),
)
# Of those: where a difference in percent says something.
_COMPARED = {"arrived", *(name for name, _, decimals in _RESULTS if decimals)}
_PHASE_HEADS = ("Departed", "Arrived", "Speed, km/h", "Travel time, s", "Time lost, s", "Standing, s")
_KMH = {"mean_trip_speed_mps": 3.6, "mean_speed_mps": 3.6}
_MAX_CHECKPOINTS = 100


def results(report: Report) -> Markup:
    """How each session ended, and its KPIs beside those of the first."""
    first = _kpis(report.sessions[0])
    heads = ["", "", *(title for _, title, _ in _RESULTS)]
    rows = []
    for number, one in enumerate(report.sessions):
        kpis, known = _kpis(one), one.session.progress.HasField("kpis")
        cells = [tag("td", dot(number), one.name, class_="left name"), tag("td", _state(one), class_="left")]
        for name, _, decimals in _RESULTS:
            value, reference = (getattr(each, name) * _KMH.get(name, 1) for each in (kpis, first))
            compared = number and reference and name in _COMPARED and _both_ended(one, report.sessions[0])
            change = f"{(value - reference) / reference:+.1%}" if compared else ""
            small = tag("small", change) if change.strip("+-0.%") else ""
            cells.append(tag("td", f"{value:,.{decimals}f}", small) if known else tag("td", "–"))
        rows.append(cells)
    note = "Times and speeds are means over the trips that ended. "
    if len(report.sessions) > 1:
        note += f"Below each value: how it differs from {report.sessions[0].name}."
    return join([table(heads, rows, left=2), tag("p", note, class_="soft")])


def _kpis(one: ReportedSession) -> Kpis:
    session = one.session
    return session.results.kpis if session.HasField("results") else session.progress.kpis


def _both_ended(one: ReportedSession, other: ReportedSession) -> bool:
    return one.session.HasField("results") and other.session.HasField("results")


def _state(one: ReportedSession) -> Markup:
    session = one.session
    if session.HasField("results"):
        reason = enum_word(CompletionReason.Name(session.results.reason), "COMPLETION_REASON_")
        return join(["completed", tag("small", reason)])
    if session.HasField("failure"):
        return join(["failed", tag("small", failure_lines(session)[0])])
    return join([state_word(session), tag("small", f"at {clock(one.end_s, seconds=True)}")])


def phases(report: Report) -> Markup:
    """KPIs of each phase of the plan, session beside session."""
    values = {(one.session_id, one.metric): one.values for one in report.phases.series}
    rows = []
    for place, bucket in enumerate(report.phases.buckets):
        for number, one in enumerate(report.sessions):
            cells = [tag("td", bucket.phase, class_="left name"), tag("td", dot(number), one.name, class_="left")]
            for metric in PHASE_METRICS:
                series = values.get((one.session.session_id, metric))
                value = math.nan if series is None else series[place] * _KMH.get(metric, 1)
                decimals = 0 if metric in ("departed", "arrived") else 1
                cells.append(tag("td", "–" if math.isnan(value) else f"{value:,.{decimals}f}"))
            # A fork did not simulate what its origin had behind it.
            if any(cell != tag("td", "–") for cell in cells[2:]):
                rows.append(cells)
    return table(["Phase", "", *_PHASE_HEADS], rows, left=2)


def interventions(report: Report) -> Markup:
    """What was changed, when and why."""
    rows = [
        [
            tag("td", "refused" if mark.sim_time_s is None else clock(mark.sim_time_s, seconds=True), class_="left"),
            tag("td", dot(number), one.name, class_="left"),
            tag("td", mark.words, class_="left"),
            tag("td", mark.comment, class_="left"),
        ]
        for number, one in enumerate(report.sessions)
        for mark in one.history.marks
        if mark.kind is MarkKind.INTERVENTION
    ]
    return table(["Simulated time", "Session", "What was changed", "Why"], rows, left=4)


def checkpoints(report: Report) -> Iterator[Markup]:
    """The places one can go back to, under their heading, where there are any."""
    made = [
        [
            tag("td", clock(mark.sim_time_s or 0, seconds=True), class_="left"),
            tag("td", dot(number), f"{one.name}, run {mark.run}", class_="left"),
            tag("td", mark.words, class_="left"),
            tag("td", tag("code", mark.identity), class_="left"),
        ]
        for number, one in enumerate(report.sessions)
        for mark in one.history.marks
        if mark.kind is MarkKind.CHECKPOINT and not mark.gone
    ]
    if made:
        yield tag("h2", "Checkpoints")
        yield table(["Simulated time", "Session", "Name", "Id"], made[:_MAX_CHECKPOINTS], left=4)
        if len(made) > _MAX_CHECKPOINTS:
            yield tag("p", f"and {len(made) - _MAX_CHECKPOINTS} more", class_="soft")


def attempts(report: Report) -> Markup:
    """Every claim, and what the log said of it."""
    rows = [
        [
            tag("td", dot(number), one.name, class_="left"),
            tag("td", f"{attempt.attempt}"),
            tag("td", f"{attempt.run}"),
            tag("td", attempt.worker_id, class_="left"),
            tag("td", attempt.because, class_="left"),
            tag("td", clock(attempt.begin_s, seconds=True)),
            tag("td", f"{attempt.claimed:%Y-%m-%d %H:%M:%S}"),
            tag("td", "–" if attempt.ready_after_s is None else f"{attempt.ready_after_s:.1f} s"),
            tag("td", f"{attempt.intervals_again}" if attempt.verdict else "–"),
            tag("td", attempt.verdict or "–", class_="left"),
        ]
        for number, one in enumerate(report.sessions)
        for attempt in one.history.attempts
    ]
    heads = [
        "Session",
        "Attempt",
        "Run",
        "Worker",
        "Because",
        "Took over at",
        "Claimed (UTC)",
        "Ready after",
        "Again",
        "Verdict",
    ]
    note = (
        "Again: intervals that were simulated a second time and compared with the log. EXACT: every one equal, byte "
        "for byte."
    )
    return join([table(heads, rows, left=1, left_too=(3, 4, 9)), tag("p", note, class_="soft")])


def origins(report: Report) -> Markup:
    """What it takes to simulate each session again."""
    rows = []
    for number, one in enumerate(report.sessions):
        session = one.session
        execution = session.execution
        command = shlex.join([*execution.environment, "sumo", *execution.arguments]) if execution.arguments else ""
        origin = session.forked_from
        past = (
            f"forked from {origin.session_id} at {clock(origin.sim_time_s, seconds=True)}" if origin.session_id else ""
        )
        digest = session.results.state_digest.hex() if session.HasField("results") else ""
        exactness = enum_word(Exactness.Name(session.exactness), "EXACTNESS_")
        facts = [
            ("session", session.session_id),
            ("scenario", session.spec.scenario_digest),
            ("seed", str(session.spec.seed)),
            ("SUMO", execution.sumo_version),
            ("past", past),
            ("exactness", exactness),
            ("state digest", digest),
            ("bare", command),
        ]
        lines = [
            [tag("span", f"{name} ", class_="soft"), tag("code", value), tag("br")] for name, value in facts if value
        ]
        rows.append([tag("td", dot(number), one.name, class_="left name"), tag("td", lines, class_="left wide")])
    return table(["Session", ""], rows, left=2)


def table(heads: Sequence[str], rows: Iterable[Iterable[str]], *, left: int, left_too: Sequence[int] = ()) -> Markup:
    """A table whose first `left` columns, and those named, are words."""
    titles = [
        tag("th", head, class_="left" if place < left or place in left_too else None)
        for place, head in enumerate(heads)
    ]
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", titles)), tag("tbody", [tag("tr", cells) for cells in rows])),
        class_="scroll",
    )


def dot(number: int) -> Markup:
    """The colour of a session."""
    return tag("span", class_="dot", style=f"background:{COLOURS[number]}")
