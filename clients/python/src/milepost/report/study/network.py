"""The map of differences: each edge in the colour of what changed there."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from milepost.report.markup import Markup, join, tag
from milepost.report.study import words
from milepost.report.study.model import DifferenceMap, EdgeMeans
from milepost.report.study.plane import INK, SOFT, picture

_WIDTH, _HIGHEST, _LEGEND = 640.0, 620.0, 46.0
_EDGE = 10.0
# Blue is better, red is worse, from strong to weak; told apart by those who see some colours alike.
_BETTER = ("#08519c", "#3182bd", "#7fb6dc")
_WORSE = ("#a63603", "#e6550d", "#fdae6b")
_SAME, _NOBODY = "#c3cad1", "#e6eaee"
# A page of more would be slow to open; what is left out is said.
_MOST_EDGES = 20_000
_MOST_CHANGED = 8


@dataclass(frozen=True, slots=True)
class _Measure:
    """What is compared on an edge."""

    title: str
    unit: str
    of: Callable[[EdgeMeans], float]
    more_is_better: bool
    places: int


_MEASURES = (
    _Measure("Speed", "km/h", lambda one: one.speed_mps * 3.6, more_is_better=True, places=1),
    _Measure("Time lost by all vehicles", "s", lambda one: one.delay_s, more_is_better=False, places=0),
)


def maps(found: DifferenceMap) -> Markup:
    """A map of the change in speed and one of the change in delay, with the edges that changed most."""
    heading = f"{found.variant} less {found.baseline}, mean over seed{'s' if len(found.seeds) != 1 else ''}"
    note = f"{heading} {words.seeds(found.seeds)}. Blue is better, orange is worse; thin grey edges carried nobody."
    left_out = len(found.shapes) - _MOST_EDGES
    if left_out > 0:
        note += f" {left_out:,} edges with the least traffic are left out."
    figures = [_figure(measure, found) for measure in _MEASURES]
    return join([tag("p", note, class_="soft"), tag("div", figures, class_="charts single")])


def _figure(measure: _Measure, found: DifferenceMap) -> Markup:
    change = {
        edge: measure.of(found.of_variant[edge]) - measure.of(found.of_baseline[edge])
        for edge in found.shapes
        if edge in found.of_variant and edge in found.of_baseline
    }
    change = {edge: value for edge, value in change.items() if math.isfinite(value)}
    full = _full_scale(list(change.values()))
    shapes, height = _placed(_shown(found))
    lines = [
        _edge(edge, shapes[edge], change.get(edge), full, measure)
        # What changed most lies on top.
        for edge in sorted(shapes, key=lambda edge: abs(change.get(edge, -1.0)))
    ]
    title = f"Change of {measure.title.lower()}"
    return tag(
        "figure",
        tag("figcaption", tag("b", title), " ", tag("span", measure.unit, class_="unit")),
        picture(title, _WIDTH, height + _LEGEND, lines, list(_legend(full, measure, height)), class_="map"),
        _most_changed(change, measure),
        class_="chart",
    )


def _full_scale(changes: Sequence[float]) -> float:
    """Where colours are at their strongest: most of what changed is below. A round number."""
    sizes = sorted(abs(change) for change in changes if change)
    if not sizes:
        return 1.0
    rough = sizes[min(len(sizes) - 1, len(sizes) * 95 // 100)]
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next((factor * magnitude for factor in (1, 2, 5) if factor * magnitude >= rough), 10 * magnitude)


def _shown(found: DifferenceMap) -> Mapping[str, Sequence[tuple[float, float]]]:
    if len(found.shapes) <= _MOST_EDGES:
        return found.shapes
    nobody = EdgeMeans(math.nan, 0.0, 0.0)

    def traffic(edge: str) -> float:
        return found.of_variant.get(edge, nobody).vehicles + found.of_baseline.get(edge, nobody).vehicles

    busiest = sorted(found.shapes, key=lambda edge: (-traffic(edge), edge))[:_MOST_EDGES]
    return {edge: found.shapes[edge] for edge in busiest}


def _placed(shapes: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[dict[str, str], float]:
    """Points of each edge in the picture, and its height."""
    xs = [x for shape in shapes.values() for x, _ in shape] or [0.0]
    ys = [y for shape in shapes.values() for _, y in shape] or [0.0]
    wide, high = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0
    scale = min((_WIDTH - 2 * _EDGE) / wide, (_HIGHEST - 2 * _EDGE) / high)
    left = (_WIDTH - wide * scale) / 2 - min(xs) * scale
    height = high * scale + 2 * _EDGE
    placed = {
        edge: " ".join(f"{left + x * scale:.1f},{_EDGE + (max(ys) - y) * scale:.1f}" for x, y in shape)
        for edge, shape in shapes.items()
    }
    return placed, round(height, 1)


def _edge(edge: str, points: str, change: float | None, full: float, measure: _Measure) -> Markup:
    told = f"{edge}: " + ("nobody in one of them" if change is None else f"{change:+.{measure.places}f} {measure.unit}")
    colour = _NOBODY if change is None else _colour(change, full, measure)
    width = 1 if change is None else 1.6 if colour == _SAME else 3
    return tag("polyline", tag("title", told), points=points, fill="none", stroke=colour, stroke_width=width)


def _colour(change: float, full: float, measure: _Measure) -> str:
    share = abs(change) / full
    if share < 0.1:
        return _SAME
    scale = _BETTER if (change > 0) is measure.more_is_better else _WORSE
    return scale[0 if share >= 0.66 else 1 if share >= 0.33 else 2]


def _legend(full: float, measure: _Measure, top: float) -> Iterator[Markup]:
    """Seven fields from one end to the other."""
    less, more = (_WORSE, _BETTER) if measure.more_is_better else (_BETTER, _WORSE)
    colours = [*less, _SAME, *reversed(more)]
    width = 46.0
    left = (_WIDTH - width * len(colours)) / 2
    for place, colour in enumerate(colours):
        yield tag("rect", x=left + place * width, y=top + 8, width=width, height=9, fill=colour)
    bounds = (-0.66, -0.33, -0.1, 0.1, 0.33, 0.66)
    for place, bound in enumerate(bounds, start=1):
        x = left + place * width
        told = words.number(bound * full, 0 if full >= 20 else 1 if full >= 2 else 3, sign=True)
        yield tag("text", told, x=x, y=top + 32, text_anchor="middle", fill=SOFT)
    yield tag("text", measure.unit, x=left + width * len(colours) + 8, y=top + 17, fill=INK)


def _most_changed(change: Mapping[str, float], measure: _Measure) -> Markup:
    most = sorted(change, key=lambda edge: (-abs(change[edge]), edge))[:_MOST_CHANGED]
    told = [f"{edge} {words.number(change[edge], measure.places, sign=True)}" for edge in most if change[edge]]
    return tag("p", "Most changed: " + (", ".join(told) or "nothing") + ".", class_="soft")
