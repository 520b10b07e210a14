"""Runs as a matrix: a row per variant, a column per seed; and what rows and columns have in common.

The matrix depends on the runs alone, never on the order in which they came: rows stand in the study's order, columns
ascend. All that is computed from it is the same on every replica, bit for bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_api.domain.study.model import Question, Result

Floats = NDArray[np.float64]

# Alternating fits of variants and seeds settle within a few rounds where most cells are there.
_MOST_ROUNDS = 50
_SETTLED = 1e-12
# KPIs come as whole numbers, or with the decimals SUMO writes.
_STEPS = (1.0, 0.1, 0.01, 0.001)
# What arithmetic leaves of a difference that is none, in steps.
_DUST = 1e-10


@dataclass(frozen=True, slots=True)
class Runs:
    """Cells that are over."""

    seeds: tuple[int, ...]
    """Ascending; those of which any variant has a cell."""
    values: Floats
    """Variants by seeds; NaN: no value (yet)."""
    failed: NDArray[np.intp]
    """Per variant, cells without a value."""
    step: float
    """The values are multiples of this (1, 0.1, 0.01 or 0.001); 0: of nothing."""


def runs(question: Question, results: Iterable[Result], *, seeds: Iterable[int] | None = None) -> Runs:
    """The matrix of these results (at most one per cell), of some seeds only where `seeds` are given."""
    wanted = None if seeds is None else set(seeds)
    found = [one for one in results if wanted is None or one.seed in wanted]
    columns = tuple(sorted({one.seed for one in found}))
    row_of = {name: row for row, name in enumerate(question.variants)}
    column_of = {seed: column for column, seed in enumerate(columns)}
    values = np.full((len(question.variants), len(columns)), np.nan)
    failed = np.zeros(len(question.variants), dtype=np.intp)
    for one in found:
        if one.value is None or not np.isfinite(one.value):
            failed[row_of[one.variant]] += 1
        else:
            values[row_of[one.variant], column_of[one.seed]] = one.value
    return Runs(columns, values, failed, _step(values))


def _step(values: Floats) -> float:
    known = values[~np.isnan(values)]
    for step in _STEPS:
        multiples = known / step
        whole = np.round(multiples)
        near = np.abs(multiples - whole) <= 1e-13 * np.abs(multiples) + _DUST
        # What is small in its unit is no multiple of 1 because it is nearly 0.
        if near.all() and (whole.any() or not known.any()):
            return step
    return 0.0


def additive_fit(values: Floats) -> tuple[Floats, Floats]:
    """Least-squares fit of value = variant + seed: what each variant would have on the average seed, and the seeds.

    With all cells there the first is the mean of each row. Where runs failed, or a race ended early for some, it does
    not favour those who were spared the hard seeds. NaN for rows without a value. The seeds' effects have mean 0.
    """
    there = ~np.isnan(values)
    if values.size and there.all():
        rows = values.mean(axis=1)
        return rows, values.mean(axis=0) - rows.mean()
    filled = np.where(there, values, 0.0)
    in_row, in_column = there.sum(axis=1), np.maximum(there.sum(axis=0), 1)
    some = in_row > 0
    columns = np.zeros(values.shape[1])
    rows = np.zeros(values.shape[0])
    for _ in range(_MOST_ROUNDS):
        before = rows
        rows = np.where(some, (filled.sum(axis=1) - there @ columns) / np.maximum(in_row, 1), 0.0)
        columns = (filled.sum(axis=0) - there.T @ rows) / in_column
        if np.max(np.abs(rows - before), initial=0.0) <= _SETTLED * np.max(np.abs(rows), initial=1.0):
            break
    middle = columns.mean() if columns.size else 0.0
    return np.where(some, rows + middle, np.nan), columns - middle
