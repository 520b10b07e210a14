"""Values seed by seed: which seeds are hard, and which turn the order of the first two round."""

from collections.abc import Iterator, Mapping, Sequence

from milepost.report.markup import Markup, join, tag
from milepost.report.study import words
from milepost.report.study.colours import Colours, colours_of, drawn_variants, legend
from milepost.report.study.model import StudyReport
from milepost.report.study.plane import SOFT, Span, around, picture, upright
from milepost.study.v1.study_pb2 import CellState, Direction

_WIDTH, _HEIGHT = 1304.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 20.0, 12.0, 26.0
# More numbers than this below the axis would run into each other.
_NUMBERS = 40

Values = Mapping[int, float]


def values_of(report: StudyReport, variant: str) -> Values:
    """By seed, the values that a variant has."""
    done = CellState.CELL_STATE_DONE
    return {cell.seed: cell.value for cell in report.cells if cell.variant == variant and cell.state == done}


def flipped(report: StudyReport) -> tuple[list[int], int]:
    """Seeds, ascending, on which the second of the ranking beats the first, and how many both have."""
    ranked = [one.name for one in report.ranking.variants if one.runs]
    if len(ranked) < 2:
        return [], 0
    first, second = (values_of(report, name) for name in ranked[:2])
    both = sorted(first.keys() & second.keys())
    maximise = report.study.spec.objective.direction == Direction.DIRECTION_MAXIMISE
    return [seed for seed in both if (second[seed] > first[seed] if maximise else second[seed] < first[seed])], len(
        both
    )


def seed_by_seed(report: StudyReport) -> Markup:
    """The values of the first variants on each seed, and in words where the order turns round."""
    variants = drawn_variants(report)
    values = {name: values_of(report, name) for name in variants}
    seeds = sorted({seed for found in values.values() for seed in found})
    if not seeds:
        return tag("p", "No run has a value.", class_="soft")
    turned, both = flipped(report)
    colours = colours_of(report)
    return join(
        [
            tag("p", _turned(variants, turned, both)),
            legend(variants, colours),
            tag("figure", _plot(report, values, seeds, set(turned), colours), class_="wide"),
        ]
    )


def _turned(variants: Sequence[str], turned: Sequence[int], both: int) -> str:
    if not both:
        return ""
    first, second = variants[:2]
    if not turned:
        return f"On none of {both} seeds is {second} better than {first}."
    which = f"seed{'s' if len(turned) > 1 else ''} {words.seeds(turned)}"
    return (
        f"On {len(turned)} of {both} seeds the order of the first two is the other way round: {second} is better than "
        f"{first} on {which} (shaded)."
    )


def _plot(
    report: StudyReport, values: Mapping[str, Values], seeds: Sequence[int], turned: set[int], colours: Colours
) -> Markup:
    least, greatest = around([value for found in values.values() for value in found.values()])
    down = Span(least, greatest, _HEIGHT - _BOTTOM, _TOP)
    step = (_WIDTH - _LEFT - _RIGHT) / len(seeds)
    x_of = {seed: round(_LEFT + step * (place + 0.5), 1) for place, seed in enumerate(seeds)}
    every = -(-len(seeds) // _NUMBERS)
    bands = [
        tag(
            "rect",
            x=round(x_of[seed] - step / 2, 1),
            y=_TOP,
            width=round(step, 1),
            height=down.start - _TOP,
            fill="#fdf1d3",
        )
        for seed in seeds
        if seed in turned
    ]
    numbers = [
        tag("text", f"{seed}", x=x_of[seed], y=_HEIGHT - _BOTTOM + 16, text_anchor="middle", fill=SOFT)
        for seed in seeds[::every]
    ]
    title = f"{report.study.spec.objective.expression} by seed"
    lines = [list(_line(name, colours[name], found, x_of, down)) for name, found in values.items()]
    return picture(
        title, _WIDTH, _HEIGHT, bands, list(upright(down, left=_LEFT, right=_WIDTH - _RIGHT)), numbers, lines[::-1]
    )


def _line(name: str, colour: str, values: Values, x_of: Mapping[int, float], down: Span) -> Iterator[Markup]:
    points = [(seed, x, down.at(values[seed])) for seed, x in x_of.items() if seed in values]
    path = " ".join(f"{x},{y}" for _, x, y in points)
    yield tag("polyline", points=path, fill="none", stroke=colour, stroke_width=1, stroke_opacity=0.45)
    for seed, x, y in points:
        words_ = f"{name}, seed {seed}: {values[seed]:.6g}"
        yield tag("circle", tag("title", words_), cx=x, cy=y, r=4, fill=colour, stroke="#ffffff", stroke_width=0.8)
