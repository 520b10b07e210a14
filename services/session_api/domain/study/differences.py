"""Paired differences and their intervals: Student's t on the seeds that two variants have in common.

    against the baseline   Bonferroni: all intervals cover together        each side: a / (2 (k - 1) looks)
    against the leader     whoever leads (k may), Holm among its rivals    each side: a / (k m looks)
                           a: error rate, k: variants, m: rivals that are not called worse yet, the clearest first

An interval and its verdict are one: EQUIVALENT where the interval lies within the smallest difference (two one-sided
tests), else BETTER or WORSE where it excludes 0, else UNDECIDED. docs/studies.md says what this promises, and why.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_api.domain.study.looks import looks
from session_api.domain.study.model import Comparison, Direction, PairedDifference, Question
from session_api.domain.study.runs import Floats, Runs

MOST_SEEDS = 10_000
"""More than a study may have are not asked for."""


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
    """Two-sided, adjusted as the interval is."""
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


@dataclass(frozen=True, slots=True)
class _Paired:
    """What differences are before they are judged."""

    seeds: NDArray[np.intp]
    mean: Floats
    deviation: Floats
    error: Floats
    """Standard error of the mean, NaN below two seeds."""
    freedom: Floats
    equal: NDArray[np.bool_]


def to_baseline(question: Question, found: Runs) -> Differences:
    """Of all variants with the baseline; all intervals cover together."""
    other = question.variants.index(question.baseline)
    paired = _paired(found, other)
    comparisons = max(1, len(question.variants) - 1) * looks(question)
    p_value = 2 * _tail(paired, np.abs(paired.mean)) * comparisons
    return _judged(question, other, paired, question.error_rate / (2 * comparisons), p_value)


def to_leader(question: Question, found: Runs, leader: int) -> Differences:
    """Of all variants with the leader; whatever is called worse, together."""
    paired = _paired(found, leader)
    cost = paired.mean if question.direction is Direction.MINIMISE else -paired.mean
    tail = _tail(paired, cost)
    tail[leader] = np.inf
    clearest_first = np.argsort(tail, kind="stable")[:-1]
    families = len(question.variants) * looks(question)
    weights = families * np.arange(len(clearest_first), 0, -1)
    # Once one is not called worse, those that are less clear than it keep its level.
    adjusted = np.maximum.accumulate(tail[clearest_first] * weights)
    stopped = int(np.argmax(np.append(adjusted, np.inf) > question.error_rate))
    weights[stopped:] = weights[stopped] if stopped < len(weights) else 0
    levels = np.full(len(tail), question.error_rate / families)
    p_value = np.ones(len(tail))
    levels[clearest_first] = question.error_rate / weights
    p_value[clearest_first] = adjusted
    return _judged(question, leader, paired, levels, p_value)


def seeds_needed(found: Differences, rivals: list[int], question: Question) -> int:
    """Seeds at which means and deviations like the present ones decide all these rivals; 0: it cannot be said.

    MOST_SEEDS stands for as many or more.
    """
    families = len(question.variants) * looks(question)
    means, deviations = np.abs(found.mean[rivals]), found.deviation[rivals]
    room = np.maximum(means, question.smallest_difference - means)
    if not np.all(np.isfinite(deviations)) or not np.all(room > 0):
        return 0
    with np.errstate(divide="ignore"):
        clearest_first = np.argsort(-room / deviations, kind="stable").tolist()
    left = range(len(rivals), 0, -1)
    return max(
        _seeds(float(room[row]), float(deviations[row]), question.error_rate / (families * rest))
        for row, rest in zip(clearest_first, left, strict=True)
    )


def _seeds(room: float, deviation: float, tail: float) -> int:
    few, many = 1, MOST_SEEDS
    # The half width falls as seeds are added.
    while many - few > 1:
        seeds = (few + many) // 2
        if -_quantile(seeds - 1, tail) * deviation / math.sqrt(seeds) < room:
            many = seeds
        else:
            few = seeds
    return many


def _paired(found: Runs, other: int) -> _Paired:
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
        error = deviation / np.sqrt(seeds)
    equal = (seeds > 1) & (np.abs(apart).max(axis=1, initial=0.0) == 0)
    return _Paired(seeds, mean, deviation, error, np.maximum(seeds - 1, 1).astype(np.float64), equal)


def _tail(paired: _Paired, mean: Floats) -> Floats:
    """Probability of a mean as high as this, or higher, where there is no difference; 1 below two seeds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = _below(paired.freedom, -mean / paired.error)
    return np.where(mean == 0, 0.5, np.where(paired.seeds > 1, tail, 1.0))


def _judged(question: Question, other: int, paired: _Paired, each_side: float | Floats, p_value: Floats) -> Differences:
    half = np.where(paired.seeds > 1, -_quantile(paired.freedom, each_side) * paired.error, np.inf)
    return Differences(
        question.variants[other],
        paired.seeds,
        paired.mean,
        paired.deviation,
        half,
        np.minimum(1.0, p_value),
        paired.equal,
    )


def _below(freedom: Floats, t: Floats) -> Floats:
    """Student's distribution function."""
    # Only here: it takes longer to import than the rest of a service, and many never judge a study.
    from scipy.special import stdtr  # noqa: PLC0415

    return np.asarray(stdtr(freedom, t))


def _quantile(freedom: Floats | int, probability: Floats | float) -> Floats:
    """Its inverse."""
    from scipy.special import stdtrit  # noqa: PLC0415

    return np.asarray(stdtrit(freedom, probability))
