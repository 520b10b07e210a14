"""The ranking as a table, and its intervals as pictures."""

import math
from collections.abc import Iterator, Sequence

from milepost.report.markup import Markup, join, tag
from milepost.report.study import words
from milepost.report.study.plane import FAINT, INK, SOFT, Span, around, level, picture
from milepost.report.tables import table
from milepost.study.v1.study_pb2 import Comparison, PairedDifference, RankedVariant, Ranking, StudySpec

SHOWN = 50
"""Variants that are shown one by one: nobody reads more of them."""

_COLOURS = {
    Comparison.COMPARISON_BETTER: "#0b6fb8",
    Comparison.COMPARISON_WORSE: "#d55e00",
    Comparison.COMPARISON_EQUIVALENT: "#00916b",
    Comparison.COMPARISON_UNDECIDED: "#7d8894",
}
_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 640.0, 150.0, 20.0, 20.0, 8.0
_LONGEST_NAME = 22


def ranking_table(ranking: Ranking) -> Markup:
    """A row per variant, best first."""
    shown = ranking.variants[:SHOWN]
    places = words.decimals(shown)
    rows = [_row(one, ranking, places) for one in shown]
    heads = [
        "",
        "Variant",
        "Standing",
        "Mean",
        "± sd",
        "Runs",
        "To the baseline",
        "To the leader",
        "Best with probability",
        "Elo",
    ]
    more = len(ranking.variants) - len(shown)
    note = f"Differences with {100 * (1 - ranking.error_rate):g} % intervals. {ranking.method}."
    left = f" {more:,} more variants are not shown: `milepost study ranking` lists them." if more else ""
    return join([table(heads, rows, left=0, left_too=(1, 2)), tag("p", note + left, class_="soft")])


def _row(one: RankedVariant, ranking: Ranking, places: int) -> list[Markup]:
    runs = f"{one.runs}"
    return [
        tag("td", f"{one.rank}"),
        tag("td", one.name, tag("small", "baseline") if one.name == ranking.baseline else "", class_="left name"),
        tag("td", words.standing(one), class_="left"),
        tag("td", words.number(one.mean, places) if one.runs else "–"),
        tag("td", words.number(one.standard_deviation, places) if one.runs > 1 else "–"),
        tag("td", runs, tag("small", f"{one.failed} failed") if one.failed else ""),
        _difference(one.to_baseline if one.HasField("to_baseline") else None, places),
        _difference(one.to_leader if one.HasField("to_leader") else None, places),
        tag("td", "–" if math.isnan(one.probability_best) else f"{one.probability_best:.1%}"),
        tag("td", f"{one.elo:.0f}"),
    ]


def _difference(one: PairedDifference | None, places: int) -> Markup:
    if one is None or not one.seeds:
        return tag("td", "–")
    verdict = words.COMPARISONS.get(one.comparison, "")
    seeds = f"{one.seeds} seed{'s' if one.seeds != 1 else ''}"
    return tag(
        "td",
        words.number(one.mean, places, sign=True),
        tag("small", words.interval(one, places)),
        tag("small", f"{verdict}, {seeds}"),
    )


def intervals(ranking: Ranking, spec: StudySpec) -> Markup:
    """Differences to the baseline and to the leader, beside each other."""
    shown = ranking.variants[:SHOWN]
    to_baseline = [(one.name, one.to_baseline) for one in shown if one.HasField("to_baseline")]
    to_leader = [(one.name, one.to_leader) for one in shown if one.HasField("to_leader")]
    matters = spec.objective.smallest_difference
    figures: list[Markup] = []
    leader = ranking.variants[0].name if ranking.variants else ""
    both = leader == ranking.baseline
    titles = (
        f"Difference to the {'leader and ' if both else ''}baseline, {ranking.baseline}",
        f"Difference to the leader, {leader}",
    )
    for title, rows in zip(titles, (to_baseline, to_leader), strict=True):
        known = [(name, one) for name, one in rows if one.seeds]
        if known and not (figures and both):
            figures.append(_forest(title, spec.objective.expression, known, matters))
    key = [_key(verdict, colour) for verdict, colour in _COLOURS.items()]
    return join([tag("div", figures, class_="charts single"), tag("div", key, class_="key")]) if figures else Markup("")


def _key(verdict: Comparison.ValueType, colour: str) -> Markup:
    mark = tag("svg", tag("path", d="M1,8h16", stroke=colour, stroke_width=3), viewBox="0 0 18 16")
    return tag("span", mark, words.COMPARISONS[verdict])


def _forest(title: str, unit: str, rows: Sequence[tuple[str, PairedDifference]], matters: float) -> Markup:
    """Intervals as lines, one below the other."""
    bounds = [bound for _, one in rows for bound in (one.lower, one.upper, one.mean) if math.isfinite(bound)]
    # One that is far off, a jam, would press all others into a line: it ends at the border.
    far = 4 * sorted(abs(bound) for bound in bounds)[len(bounds) * 3 // 4]
    bounds = [min(max(bound, -far), far) for bound in bounds]
    least, greatest = around([*bounds, -matters, matters], zero=True)
    span = Span(least, greatest, _LEFT, _WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(rows)
    zero = span.at(0)
    near = span.at(matters) - span.at(-matters)
    band = tag("rect", x=span.at(-matters), y=_TOP, width=round(near, 1), height=bottom - _TOP, fill="#e8f3ee")
    return tag(
        "figure",
        tag("figcaption", tag("b", title), " ", tag("span", unit, class_="unit")),
        picture(
            title,
            _WIDTH,
            bottom + 24,
            band if matters else "",
            list(level(span, top=_TOP, bottom=bottom)),
            tag("line", x1=zero, x2=zero, y1=_TOP, y2=bottom, stroke=INK),
            [list(_line(name, one, _TOP + _ROW * (row + 0.5), span)) for row, (name, one) in enumerate(rows)],
        ),
        class_="chart",
    )


def _line(name: str, one: PairedDifference, y: float, span: Span) -> Iterator[Markup]:
    colour = _COLOURS.get(one.comparison, SOFT)
    told = f"{name}: {one.mean:+.6g}, {one.lower:.6g} to {one.upper:.6g}, {one.seeds} seeds"
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    yield tag("text", short, tag("title", name), x=_LEFT - 10, y=y + 4, text_anchor="end", fill=INK)
    known = math.isfinite(one.lower)
    yield tag(
        "line",
        tag("title", told),
        x1=span.at(one.lower),
        x2=span.at(one.upper),
        y1=y,
        y2=y,
        stroke=colour if known else FAINT,
        stroke_width=3 if known else 1,
        stroke_dasharray=None if known else "4 4",
    )
    yield tag("circle", tag("title", told), cx=span.at(one.mean), cy=y, r=4, fill=colour)
    if one.upper > span.greatest and known:
        yield tag("text", "›", x=span.stop + 3, y=y + 4, fill=colour)
    if one.lower < span.least and known:
        yield tag("text", "‹", x=span.start - 7, y=y + 4, fill=colour)
