"""The words of a comparison: what is asked (Question, Result), what is answered (Ranking).

Question + Results + what was dropped -> rank() -> Ranking
Question + Results of whole rungs     -> after_rung() -> who is dropped, and whether it is over
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way is better."""

    MINIMISE = "minimise"
    MAXIMISE = "maximise"


class Comparison(Enum):
    """How one variant compares with another."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


class Standing(Enum):
    """Where a variant stands."""

    LEADING = "leading"
    CONTENDING = "contending"
    DROPPED = "dropped"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, slots=True)
class Question:
    """What a study compares."""

    variants: tuple[str, ...]
    """Names, in the study's order."""
    seeds: tuple[int, ...]
    """All that may be run, in any order."""
    baseline: str
    objective: str = "the objective"
    """The expression, for sentences."""
    constraints: tuple[str, ...] = ()
    direction: Direction = Direction.MINIMISE
    error_rate: float = 0.05
    smallest_difference: float = 0.0
    first_seeds: int | None = None
    """Seeds of the first rung of a race; None: all at once."""


@dataclass(frozen=True, slots=True)
class Result:
    """A cell that is over."""

    variant: str
    seed: int
    value: float | None
    """None (or NaN): it failed."""
    broken: tuple[int, ...] = ()
    """Indexes of constraints."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """This variant's value less the other's, on the seeds that both have."""

    other: str
    seeds: int
    mean: float
    lower: float
    upper: float
    p_value: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class SafetyFinding:
    """Seeds, ascending, on which a constraint was broken."""

    constraint: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RankedVariant:
    """A variant in the ranking; fields as in `milepost.study.v1.RankedVariant`."""

    rank: int
    name: str
    standing: Standing
    runs: int
    failed: int
    mean: float
    standard_deviation: float
    to_baseline: PairedDifference | None
    to_leader: PairedDifference | None
    probability_best: float
    elo: float
    findings: tuple[SafetyFinding, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """What the runs so far say; fields as in `milepost.study.v1.Ranking`."""

    answer: str
    decided: bool
    more_seeds: int
    method: str
    error_rate: float
    baseline: str
    variants: tuple[RankedVariant, ...]
    """Best first."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A variant that gets no more seeds."""

    variant: str
    because: str
    to_leader: PairedDifference | None


@dataclass(frozen=True, slots=True)
class RungVerdict:
    """What follows from a complete rung."""

    drops: tuple[Drop, ...]
    over: bool
    """No further rung is needed: it is decided, or nothing is left to decide."""
    because: str
    """Why it goes on or is over, in words."""
    left: Sequence[str]
    """Variants that get more seeds if it goes on, in the study's order."""
