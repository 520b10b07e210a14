"""Plots as SVG inside the page: lines over simulated time, and the time axis of runs, attempts and marks."""

import math
from collections.abc import Iterator, Sequence

from milepost.report.gather import Report, ReportedSession
from milepost.report.history import Mark, MarkKind, RunSpan
from milepost.report.markup import Markup, tag
from milepost.report.panels import COLOURS, Plot, clock, ticks, time_ticks

_WIDTH, _HEIGHT = 640.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 20.0, 16.0, 26.0
_TIMELINE_WIDTH, _TIMELINE_LEFT = 1304.0, 190.0
_ROW, _BAR = 34.0, 12.0
_LONGEST_NAME = 26

# Written on every element rather than in the style sheet: a plot copied out of the page stays as it is.
INK, _SOFT = "#1c2530", "#5d6975"
_GRID = {"stroke": "#dfe4e9"}
_BANDS = ("#f4f6f8", "#e9eef3")
MARKS = {MarkKind.CHECKPOINT: "#ffffff", MarkKind.INTERVENTION: "#ffc845", MarkKind.MILESTONE: "#00916b"}
"""Colour of each mark."""
_GONE = "#b4bcc4"


class _Scale:
    """From simulated seconds and values to places in a plot."""

    def __init__(self, report: Report, *, left: float, right: float, greatest: float = 1.0) -> None:
        self._begin_s, self._span_s = report.begin_s, report.end_s - report.begin_s
        self._left, self._width = left, right - left
        self._greatest = greatest

    def x(self, time_s: float) -> float:
        """Across."""
        return round(self._left + self._width * (time_s - self._begin_s) / self._span_s, 1)

    def y(self, value: float) -> float:
        """Down."""
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self._greatest, 1)


def chart(report: Report, plot: Plot) -> Markup:
    """A panel: a line per session, interventions where they were applied, phases where they are the same for all."""
    panel = plot.panel
    greatest = max((value for line in plot.lines for value in line if not math.isnan(value)), default=0.0) or 1.0
    steps = ticks(0, greatest * 1.08, 4)
    scale = _Scale(report, left=_LEFT, right=_WIDTH - _RIGHT, greatest=max(greatest * 1.08, steps[-1]))
    begin, end = scale.x(report.begin_s), scale.x(report.end_s)
    return tag(
        "figure",
        tag("figcaption", tag("b", panel.title), " ", tag("span", panel.unit, class_="unit")),
        tag(
            "svg",
            list(_phase_bands(report, scale)),
            [
                [
                    tag("line", x1=begin, x2=end, y1=scale.y(step), y2=scale.y(step), **_GRID),
                    tag("text", f"{step:g}", x=_LEFT - 8, y=scale.y(step) + 4, text_anchor="end", fill=_SOFT),
                ]
                for step in steps
            ],
            list(_time_axis(report, scale, top=_HEIGHT - _BOTTOM)),
            list(_interventions(report, scale)),
            [
                tag("path", d=_path(plot.times_s, line, scale), fill="none", stroke=COLOURS[number], stroke_width=1.9)
                for number, line in enumerate(plot.lines)
            ],
            tag("line", x1=0, x2=0, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="hair", stroke=INK),
            viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
            role="img",
            aria_label=panel.heading,
            data_panel=panel.metric,
        ),
        class_="chart",
    )


def frame() -> tuple[float, float, float]:
    """Left and right of a chart's time axis, and the width of the whole."""
    return _LEFT, _WIDTH - _RIGHT, _WIDTH


def timeline(report: Report) -> Markup:
    """A row per run of each session: phases, attempts, checkpoints, interventions, milestones."""
    rows = [(number, one, run) for number, one in enumerate(report.sessions) for run in one.history.runs]
    height = len(rows) * _ROW + 34
    scale = _Scale(report, left=_TIMELINE_LEFT, right=_TIMELINE_WIDTH - 24)
    return tag(
        "svg",
        list(_time_axis(report, scale, top=len(rows) * _ROW + 10, bottom=0)),
        [list(_row(number, one, run, place * _ROW + 8, scale)) for place, (number, one, run) in enumerate(rows)],
        viewBox=f"0 0 {_TIMELINE_WIDTH:g} {height:g}",
        role="img",
        aria_label="Runs, attempts, checkpoints and interventions over simulated time",
        class_="timeline",
    )


def _row(number: int, one: ReportedSession, run: RunSpan, top: float, scale: _Scale) -> Iterator[Markup]:
    several = len(one.history.runs) > 1
    name = one.name if len(one.name) <= _LONGEST_NAME else f"{one.name[: _LONGEST_NAME - 1]}…"
    middle = top + _BAR / 2 + 4
    yield tag("circle", cx=8, cy=middle - 4, r=5, fill=COLOURS[number])
    yield tag(
        "text",
        f"{name}{f', run {run.run}' if several else ''}",
        tag("title", one.name),
        x=20,
        y=middle,
        fill=INK,
        font_size=13,
    )
    attempts = [attempt for attempt in one.history.attempts if attempt.run == run.run]
    begins = [max(run.begin_s, attempt.begin_s) for attempt in attempts] or [run.begin_s]
    begins[0] = run.begin_s
    for place, begin_s in enumerate(begins):
        end_s = begins[place + 1] if place + 1 < len(begins) else run.end_s
        words = f"run {run.run}, {run.cause}, {clock(run.begin_s, seconds=True)} to {clock(run.end_s, seconds=True)}"
        if attempts:
            attempt = attempts[place]
            words += f"; attempt {attempt.attempt} by {attempt.worker_id}, {attempt.because}"
            words += f"; {attempt.verdict}" if attempt.verdict else ""
        yield tag(
            "rect",
            tag("title", words),
            x=scale.x(begin_s),
            y=top,
            width=max(1.5, round(scale.x(end_s) - scale.x(begin_s), 1)),
            height=_BAR,
            fill=COLOURS[number],
            fill_opacity=0.35 if place % 2 else 0.6,
        )
        if place:
            x = scale.x(begin_s)
            yield tag("path", tag("title", words), d=f"M{x},{top - 4}v{_BAR + 8}", stroke=INK, stroke_width=2)
    for mark in one.history.marks:
        if mark.run == run.run and mark.sim_time_s is not None:
            yield _mark(mark, scale.x(mark.sim_time_s), top)


def _mark(mark: Mark, x: float, top: float) -> Markup:
    words = f"{clock(mark.sim_time_s or 0, seconds=True)} {mark.kind.value}: {mark.words}"
    words += f" ({mark.comment})" if mark.comment else ""
    shapes = {
        MarkKind.CHECKPOINT: f"M{x},{top + _BAR + 1}l5,8h-10z",
        MarkKind.INTERVENTION: f"M{x},{top - 5}l6,6l-6,6l-6,-6z",
        MarkKind.MILESTONE: f"M{x},{top - 6}v{_BAR + 6}m0,{-_BAR - 6}l8,3l-8,3z",
    }
    stroke = _GONE if mark.gone else INK
    return tag("path", tag("title", words), d=shapes[mark.kind], fill=MARKS[mark.kind], stroke=stroke)


def _phase_bands(report: Report, scale: _Scale) -> Iterator[Markup]:
    spans = {tuple(_phases(one)) for one in report.sessions}
    if len(spans) != 1:
        return
    for place, (name, begin_s, end_s) in enumerate(spans.pop()):
        left, right = scale.x(max(begin_s, report.begin_s)), scale.x(min(end_s, report.end_s))
        if right > left:
            width, height = round(right - left, 1), _HEIGHT - _TOP - _BOTTOM
            yield tag("rect", x=left, y=_TOP, width=width, height=height, fill=_BANDS[place % 2])
            yield tag("text", name, x=round((left + right) / 2, 1), y=_TOP - 4, text_anchor="middle", fill=_SOFT)


def _phases(one: ReportedSession) -> Iterator[tuple[str, float, float]]:
    begin_s = one.history.begin_s
    for planned in one.session.spec.plan:
        yield planned.name, begin_s, begin_s + planned.duration_s
        begin_s += planned.duration_s


def _interventions(report: Report, scale: _Scale) -> Iterator[Markup]:
    for number, one in enumerate(report.sessions):
        for mark in one.history.marks:
            if mark.kind is MarkKind.INTERVENTION and mark.sim_time_s is not None and mark.run == one.session.run:
                x = scale.x(mark.sim_time_s)
                ends = {"x1": x, "x2": x, "y1": _TOP, "y2": _HEIGHT - _BOTTOM}
                yield tag("line", **ends, stroke=COLOURS[number], stroke_dasharray="3 3")


def _time_axis(report: Report, scale: _Scale, *, top: float, bottom: float | None = None) -> Iterator[Markup]:
    for at_s in time_ticks(report.begin_s, report.end_s, 8):
        x = scale.x(at_s)
        seconds = report.end_s - report.begin_s < 600
        yield tag("line", x1=x, x2=x, y1=top, y2=top + 4 if bottom is None else bottom, **_GRID)
        yield tag("text", clock(at_s, seconds=seconds), x=x, y=top + 18, text_anchor="middle", fill=_SOFT)
    yield tag("line", x1=scale.x(report.begin_s), x2=scale.x(report.end_s), y1=top, y2=top, stroke="#9aa5b0")


def _path(times_s: Sequence[float], line: Sequence[float], scale: _Scale) -> str:
    """A line that is broken where a value is missing; a lone point is a dot."""
    parts: list[str] = []
    drawing = False
    for at_s, value in zip(times_s, line, strict=True):
        if math.isnan(value):
            drawing = False
            continue
        point = f"{scale.x(at_s):g},{scale.y(value):g}"
        parts.append(f"L{point}" if drawing else f"M{point}h0")
        drawing = True
    return "".join(parts)
