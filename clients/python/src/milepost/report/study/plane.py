"""A plane to draw on: from values to places, and its axes. Colours stand on every element: a plot copied out stays."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from milepost.report.markup import Child, Markup, tag
from milepost.report.panels import clock, ticks, time_ticks

INK, SOFT, FAINT = "#1c2530", "#5d6975", "#dfe4e9"


@dataclass(frozen=True, slots=True)
class Span:
    """A range of values, and where it lies in a picture: `start` to `stop`, either way round."""

    least: float
    greatest: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Place of a value; what is outside lies at the end."""
        share = (min(max(value, self.least), self.greatest) - self.least) / (self.greatest - self.least or 1.0)
        return round(self.start + (self.stop - self.start) * share, 1)


def around(values: Sequence[float], *, zero: bool = False, room: float = 0.06) -> tuple[float, float]:
    """Least and greatest of the finite values, with some room; with 0, where asked for."""
    known = [value for value in values if math.isfinite(value)] + ([0.0] if zero else [])
    if not known:
        return 0.0, 1.0
    least, greatest = min(known), max(known)
    margin = room * (greatest - least) or abs(greatest) * room or 1.0
    return least - (0.0 if zero and least == 0 else margin), greatest + (0.0 if zero and greatest == 0 else margin)


def upright(span: Span, *, left: float, right: float, about: int = 4) -> Iterator[Markup]:
    """Lines across at round values, with their numbers to the left."""
    for value in ticks(span.least, span.greatest, about):
        y = span.at(value)
        yield tag("line", x1=left, x2=right, y1=y, y2=y, stroke=FAINT)
        yield tag("text", short(value), x=left - 8, y=y + 4, text_anchor="end", fill=SOFT)


def level(span: Span, *, top: float, bottom: float, about: int = 6) -> Iterator[Markup]:
    """Lines downwards at round values, with their numbers below."""
    for value in ticks(span.least, span.greatest, about):
        x = span.at(value)
        yield tag("line", x1=x, x2=x, y1=top, y2=bottom, stroke=FAINT)
        yield tag("text", short(value), x=x, y=bottom + 16, text_anchor="middle", fill=SOFT)


def times(span: Span, *, top: float, bottom: float) -> Iterator[Markup]:
    """Lines downwards at round times, with the clock below."""
    seconds = span.greatest - span.least < 600
    for at_s in time_ticks(span.least, span.greatest, 7):
        x = span.at(at_s)
        yield tag("line", x1=x, x2=x, y1=top, y2=bottom, stroke=FAINT)
        yield tag("text", clock(at_s, seconds=seconds), x=x, y=bottom + 16, text_anchor="middle", fill=SOFT)


def short(value: float) -> str:
    """A round value without the dust of arithmetic."""
    return f"{round(value, 10):,.10g}" if abs(value) < 1e6 else f"{value:.3g}"


def picture(label: str, width: float, height: float, *children: Child, **attributes: object) -> Markup:
    """An SVG as wide as its place."""
    return tag("svg", *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, **attributes)
