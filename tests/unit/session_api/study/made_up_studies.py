"""Made-up studies: what each variant is worth, seeds that are easy or hard for all alike, and noise."""

from collections.abc import Sequence

import numpy as np

from session_api.domain.study.model import Question, Result


def question(variants: int, seeds: int, **given: object) -> Question:
    """Variants v0, v1 …; the first is the baseline."""
    names = tuple(f"v{number}" for number in range(variants))
    return Question(variants=names, seeds=tuple(range(1, seeds + 1)), baseline="v0", objective="delay", **given)


def results(asked: Question, values: Sequence[Sequence[float | None]]) -> list[Result]:
    """A row per variant, a column per seed; NaN leaves a cell out, None failed."""
    return [
        Result(name, seed, value)
        for name, row in zip(asked.variants, values, strict=True)
        for seed, value in zip(sorted(asked.seeds), row, strict=False)
        if value is None or not np.isnan(value)
    ]


def runs(
    asked: Question, worth: Sequence[float], random: np.random.Generator, *, noise: float = 1.0, seeds: float = 5.0
) -> list[Result]:
    """All cells, with normal noise."""
    hard = random.normal(0, seeds, len(asked.seeds))
    own = random.normal(0, noise, (len(worth), len(asked.seeds)))
    return results(asked, (np.asarray(worth)[:, None] + hard[None, :] + own).tolist())


def within(rate: float, cases: int) -> float:
    """So many of the cases may be wrong at this rate, by three standard deviations."""
    return rate * cases + 3 * (rate * (1 - rate) * cases) ** 0.5
