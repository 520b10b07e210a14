"""Numbers and patches of a study in words."""

import math
from collections.abc import Sequence

from google.protobuf.json_format import MessageToJson
from google.protobuf.struct_pb2 import Value

from milepost.cli.words import change_words, enum_word
from milepost.report.panels import clock
from milepost.study.v1.study_pb2 import Comparison, PairedDifference, Patch, RankedVariant, Standing

COMPARISONS = {
    Comparison.COMPARISON_BETTER: "better",
    Comparison.COMPARISON_WORSE: "worse",
    Comparison.COMPARISON_EQUIVALENT: "equivalent",
    Comparison.COMPARISON_UNDECIDED: "not decided",
}
_MOST_SEEDS = 12
_MOST_INTERVENTIONS = 6


def standing(one: RankedVariant) -> str:
    """Where a variant stands, in a word: who lost is dropped only where that cost it seeds."""
    if one.standing == Standing.STANDING_DROPPED and not one.dropped_after_rung:
        return "beaten"
    return enum_word(Standing.Name(one.standing), "STANDING_")


def decimals(variants: Sequence[RankedVariant]) -> int:
    """Decimals that show three digits of a usual spread over seeds, or of the values where there is none."""
    spreads = sorted(one.standard_deviation for one in variants if one.standard_deviation > 0)
    sizes = sorted(abs(one.mean) / 100 for one in variants if one.runs and one.mean)
    scale = spreads[len(spreads) // 2] if spreads else sizes[len(sizes) // 2] if sizes else 1.0
    return min(6, max(0, 1 - math.floor(math.log10(scale))))


def number(value: float, places: int, *, sign: bool = False) -> str:
    """A number, a dash where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    # Adding 0 takes the sign of what rounds to nothing.
    return f"{round(value, places) + 0.0:{'+' if sign else ''},.{places}f}".replace("-", "−")


def interval(one: PairedDifference, places: int) -> str:
    """From where to where."""
    if math.isinf(one.lower):
        return "no interval"
    return f"{number(one.lower, places, sign=True)} to {number(one.upper, places, sign=True)}"


def seeds(numbers: Sequence[int]) -> str:
    """Seeds by name, as many as anybody reads."""
    shown = ", ".join(str(one) for one in numbers[:_MOST_SEEDS])
    more = len(numbers) - _MOST_SEEDS
    return f"{shown} and {more} more" if more > 0 else shown


def patch(one: Patch) -> list[str]:
    """What a variant changes, a phrase each."""
    phrases = [f"{name} = {_plain(value)}" for name, value in sorted(one.parameters.items())]
    phrases += [f"--{option.name} {option.value}" for option in one.options]
    phrases += [f"{file.path} replaced by {file.sha256[:12]}" for file in one.files]
    for planned in one.interventions[:_MOST_INTERVENTIONS]:
        phrases.append(f"{clock(planned.at_time_s, seconds=True)} {change_words(planned.intervention)}")
    more = len(one.interventions) - _MOST_INTERVENTIONS
    return [*phrases, f"and {more} more interventions"] if more > 0 else phrases


def _plain(value: Value) -> str:
    if value.WhichOneof("kind") == "number_value":
        return f"{value.number_value:.12g}"
    return value.string_value if value.WhichOneof("kind") == "string_value" else MessageToJson(value, indent=None)
