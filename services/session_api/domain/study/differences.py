"""Paired differences and their intervals: Student's t on the seeds that two variants have in common.

    level of one comparison = error rate / ((variants - 1) x looks)        Bonferroni; docs/studies.md says of what

An interval and its verdict are one: EQUIVALENT where the interval lies within the smallest difference (two one-sided
tests), else BETTER or WORSE where it excludes 0, else UNDECIDED.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from session_api.domain.study.model import Comparison, Direction, PairedDifference, Question
from session_api.domain.study.runs import Floats, Runs

_MOST_SEEDS = 10_000
"""More than a study may have are not asked for."""


@dataclass(frozen=True, slots=True)
class Level:
    """How sure one comparison has to be so that all together are."""

    comparisons: int
    """With one fixed variant, the baseline or the truly best: all others."""
    looks: int
    """Times at which something is decided."""
    one: float
    """Probability that an interval misses, on either side."""


def level(question: Question, looks: int) -> Level:
    """Of every comparison of a study. Variants that were dropped count: they were compared."""
    comparisons = max(1, len(question.variants) - 1)
    return Level(comparisons, looks, question.error_rate / (comparisons * looks))


@dataclass(frozen=True, slots=True)
class Differences:
    """Each variant's value less that of one of them; a row per variant."""

    other: str
    seeds: NDArray[np.intp]
    mean: Floats
    deviation: Floats
    """Standard deviation of the differences, NaN below two."""
    half: Floats
    """Half of the interval's width."""
    p_value: Floats
    equal: NDArray[np.bool_]
    """The same value in every run, on two seeds or more."""

    def pair(self, row: int, question: Question, *, certain: bool = True) -> PairedDifference:
        """One of them; UNDECIDED where nothing is to be decided yet."""
        verdict = self.verdict(row, question) if certain else Comparison.UNDECIDED
        mean, half = float(self.mean[row]), float(self.half[row])
        lower, upper = (-math.inf, math.inf) if math.isinf(half) else (mean - half, mean + half)
        return PairedDifference(self.other, int(self.seeds[row]), mean, lower, upper, float(self.p_value[row]), verdict)

    def verdict(self, row: int, question: Question) -> Comparison:
        """What an interval amounts to."""
        mean, half = float(self.mean[row]), float(self.half[row])
        if self.equal[row] or self.within(row, question):
            return Comparison.EQUIVALENT
        if not abs(mean) > half:
            return Comparison.UNDECIDED
        less_is_better = question.direction is Direction.MINIMISE
        return Comparison.BETTER if (mean < 0) is less_is_better else Comparison.WORSE

    def within(self, row: int, question: Question) -> bool:
        """Whether the interval lies within the smallest difference."""
        return bool(abs(self.mean[row]) + self.half[row] <= question.smallest_difference > 0)


def differences(question: Question, found: Runs, other: int, at: Level) -> Differences:
    """Of all variants with the variant in row `other`."""
    apart = found.values - found.values[other]
    there = ~np.isnan(apart)
    seeds = there.sum(axis=1)
    apart = np.where(there, apart, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(seeds > 0, apart.sum(axis=1) / seeds, np.nan)
        squares = np.where(there, (apart - mean[:, None]) ** 2, 0.0).sum(axis=1)
        # Counts and rounded figures are often equal by luck. What was rounded to a step is known to a twelfth of its
        # square (each of two), and no interval claims to know it better.
        variance = np.maximum(squares / (seeds - 1), found.step**2 / 6)
        deviation = np.where(seeds > 1, np.sqrt(variance), np.nan)
        freedom = np.maximum(seeds - 1, 1).astype(np.float64)
        error = deviation / np.sqrt(seeds)
        half = np.where(seeds > 1, -stdtrit(freedom, at.one / 2) * error, np.inf)
        p_value = np.where(mean == 0, 1.0, 2 * stdtr(freedom, -np.abs(mean) / error))
    p_value = np.where(seeds > 1, np.minimum(1.0, p_value * at.comparisons * at.looks), 1.0)
    equal = (seeds > 1) & (np.abs(apart).max(axis=1, initial=0.0) == 0)
    return Differences(question.variants[other], seeds, mean, deviation, half, p_value, equal)


def seeds_needed(mean: float, deviation: float, question: Question, at: Level) -> int:
    """The smallest number of seeds at which this mean and deviation would decide; 0: it cannot be said.

    Seeds beyond 10,000 are not counted: that many stands for as many or more.
    """
    if not (math.isfinite(mean) and math.isfinite(deviation)):
        return 0
    room = max(abs(mean), question.smallest_difference - abs(mean))
    if room <= 0:
        return 0
    few, many = 1, _MOST_SEEDS
    # The half width falls as seeds are added.
    while many - few > 1:
        seeds = (few + many) // 2
        if -stdtrit(seeds - 1, at.one / 2) * deviation / math.sqrt(seeds) < room:
            many = seeds
        else:
            few = seeds
    return many
