"""Strengths from matches: on each seed every two variants that have a value meet, the better value wins.

Bradley-Terry's model by maximum likelihood, on Elo's scale: 400 points are odds of 10 to 1, the mean is 1500. Unlike
Elo's own update it knows no order of matches. For it only the points of each and the number of meetings of each two
matter, so matches are never listed. Every two draw one match more than they had, before the first: who never lost has
not proved more than as many wins can.
"""

import numpy as np
from numpy.typing import NDArray

from session_api.domain.study.runs import Floats

MEAN = 1500.0
_SCALE = 400.0 / np.log(10.0)
_MOST_STEPS = 50
_SETTLED = 1e-7
# A step of Newton's method may be too long far from the end: odds change by a factor of e^2 at most.
_LONGEST_STEP = 2.0


def ratings(values: Floats, *, less_is_better: bool) -> Floats:
    """For each row of a matrix (variants by seeds, NaN: did not take part)."""
    better = -values if less_is_better else values
    there = ~np.isnan(better)
    meetings = there.astype(np.float64) @ there.T.astype(np.float64) + 1
    np.fill_diagonal(meetings, 0.0)
    return np.asarray(MEAN + _SCALE * _strengths(_points(better, there), meetings))


def _points(better: Floats, there: NDArray[np.bool_]) -> Floats:
    """A match won is a point, a draw half of one."""
    points = np.full(len(better), (len(better) - 1) / 2)
    for column, present in zip(better.T, there.T, strict=True):
        taking_part = column[present]
        ordered = np.sort(taking_part)
        below = np.searchsorted(ordered, taking_part, side="left")
        up_to = np.searchsorted(ordered, taking_part, side="right")
        points[present] += below + (up_to - below - 1) / 2
    return points


def _strengths(points: Floats, meetings: Floats) -> Floats:
    """Newton's method; concave, and the same for all strengths moved together: those of mean 0 are taken."""
    strength = np.zeros(len(points))
    for _ in range(_MOST_STEPS):
        odds = np.exp(strength)
        expected = odds[:, None] / (odds[:, None] + odds[None, :])
        weights = meetings * expected * expected.T
        curvature = np.diag(weights.sum(axis=1)) - weights + 1 / len(points)
        step = np.linalg.solve(curvature, points - (meetings * expected).sum(axis=1))
        longest = float(np.abs(step).max(initial=0.0))
        strength += step * min(1.0, _LONGEST_STEP / max(longest, _SETTLED))
        strength -= strength.mean()
        if longest < _SETTLED:
            break
    return strength
