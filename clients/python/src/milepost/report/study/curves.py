"""KPIs over simulated time: the mean over seeds as a line, from the least to the greatest as a band."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from milepost.report.markup import Markup, join, tag
from milepost.report.panels import PANELS, Panel
from milepost.report.study.colours import Colours, legend
from milepost.report.study.model import Curves
from milepost.report.study.plane import Span, around, picture, times, upright

_WIDTH, _HEIGHT = 640.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 20.0, 12.0, 26.0

Floats = NDArray[np.float64]


def curves(found: Curves, colours: Colours) -> Markup:
    """A panel per KPI that there is anything to see of."""
    variants = list(dict.fromkeys(variant for variant, _ in found.lines))
    panels = [chart for panel in PANELS if (chart := _chart(panel, found, variants, colours))]
    note = "Lines are means over seeds, bands reach from the least to the greatest run."
    return join([legend(variants, colours), tag("p", note, class_="soft"), tag("div", panels, class_="charts")])


def _chart(panel: Panel, found: Curves, variants: Sequence[str], colours: Colours) -> Markup | None:
    bands = [_band(panel, found, variant) for variant in variants]
    known = [value for band in bands if band is not None for value in band[2].tolist() if math.isfinite(value)]
    if not known or (panel.only_if_any and max(known) < 1):
        return None
    across = Span(found.times_s[0] - found.bucket_s, found.times_s[-1], _LEFT, _WIDTH - _RIGHT)
    down = Span(0, around(known, zero=True)[1], _HEIGHT - _BOTTOM, _TOP)
    shapes = [
        list(_shapes(band, found, across, down, colours[name]))
        for name, band in zip(variants, bands, strict=True)
        if band
    ]
    return tag(
        "figure",
        tag("figcaption", tag("b", panel.title), " ", tag("span", panel.unit, class_="unit")),
        picture(
            panel.heading,
            _WIDTH,
            _HEIGHT,
            list(upright(down, left=_LEFT, right=_WIDTH - _RIGHT)),
            list(times(across, top=_TOP, bottom=_HEIGHT - _BOTTOM)),
            [bands for bands, _ in shapes],
            [line for _, line in shapes],
        ),
        class_="chart",
    )


def _band(panel: Panel, found: Curves, variant: str) -> tuple[Floats, Floats, Floats] | None:
    """Least, mean and greatest at each time; NaN where no run has a value."""
    runs = found.lines.get((variant, panel.metric))
    if not runs:
        return None
    values = np.array([[panel.value(raw, found.bucket_s) for raw in run] for run in runs], dtype=np.float64)
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    mean = np.where(count > 0, np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    least = np.where(count > 0, np.where(there, values, np.inf).min(axis=0), np.nan)
    greatest = np.where(count > 0, np.where(there, values, -np.inf).max(axis=0), np.nan)
    return least, mean, greatest


def _shapes(
    band: tuple[Floats, Floats, Floats], found: Curves, across: Span, down: Span, colour: str
) -> Iterator[Markup | list[Markup]]:
    """The band first, then the line: bands of all lie below the lines of all."""
    least, mean, greatest = (one.tolist() for one in band)
    pieces = list(_pieces(mean))
    areas = []
    for begin, end in pieces:
        there = [(across.at(found.times_s[at]), down.at(greatest[at])) for at in range(begin, end)]
        back = [(across.at(found.times_s[at]), down.at(least[at])) for at in range(begin, end)]
        points = " ".join(f"{x},{y}" for x, y in [*there, *reversed(back)])
        areas.append(tag("polygon", points=points, fill=colour, fill_opacity=0.14))
    yield areas
    path = "".join(
        "M" + "L".join(f"{across.at(found.times_s[at])},{down.at(mean[at])}" for at in range(begin, end))
        for begin, end in pieces
    )
    yield tag("path", d=path, fill="none", stroke=colour, stroke_width=1.9)


def _pieces(values: Sequence[float]) -> Iterator[tuple[int, int]]:
    """From where to where there are values without a gap."""
    begin = None
    for place, value in enumerate([*values, math.nan]):
        if math.isnan(value):
            if begin is not None:
                yield begin, place
            begin = None
        elif begin is None:
            begin = place
