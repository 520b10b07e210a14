"""One colour per variant, the same in every picture of a page."""

from collections.abc import Mapping, Sequence

from milepost.report.markup import Markup, tag
from milepost.report.panels import COLOURS
from milepost.report.study.model import StudyReport

# Lines that can be told apart.
LINES = 6

Colours = Mapping[str, str]


def drawn_variants(report: StudyReport) -> list[str]:
    """The first of the ranking and the baseline: those that lines are drawn of, in the ranking's order."""
    ranked = [one.name for one in report.ranking.variants if one.runs]
    baseline = report.ranking.baseline
    first = ranked[:LINES]
    return first if baseline in first or baseline not in ranked else [*first[: LINES - 1], baseline]


def colours_of(report: StudyReport) -> Colours:
    """The colour of each variant that is drawn anywhere."""
    curves = [] if report.curves is None else [name for name, _ in report.curves.lines]
    names = dict.fromkeys([*drawn_variants(report), *curves])
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}


def legend(variants: Sequence[str], colours: Colours) -> Markup:
    """Names with their colours."""
    marks = [tag("span", class_="dot", style=f"background:{colours[name]}") for name in variants]
    return tag("ul", [tag("li", mark, name) for mark, name in zip(marks, variants, strict=True)], class_="legend")
