"""The matrix of runs: the step of its values, and the fit that fills what is missing."""

import math

import numpy as np
import pytest
from made_up_studies import question, results

from session_api.domain.study.runs import additive_fit, runs


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1, 2], 1.0),
        ([0, 0], 1.0),
        ([0.1 + 0.2, 0.5], 0.1),
        ([30.43, 31.11 + 2.2], 0.01),
        ([1e9 + 0.25, 3], 0.01),
        ([1e-9, 2e-9], 0.0),
        ([math.pi, 1], 0.0),
        ([0.1 + 0.2 - 0.3, 0.7], 0.1),
    ],
)
def test_the_step_of_values_is_found(values, step) -> None:
    asked = question(2, 1)
    assert runs(asked, results(asked, [[one] for one in values])).step == step


def test_a_fit_is_the_plain_mean_where_nothing_is_missing_and_exact_where_values_are_sums() -> None:
    full = np.array([[1.0, 2.0, 6.0], [3.0, 5.0, 4.0]])
    rows, columns = additive_fit(full)
    assert rows.tolist() == [3.0, 4.0]
    assert columns.tolist() == [-1.5, 0.0, 1.5]
    sums = np.array([10.0, 20.0, 30.0])[:, None] + np.array([-1.0, 0.0, 1.0])[None, :]
    sums[0, 2] = sums[1, 0] = math.nan
    rows, columns = additive_fit(np.vstack([sums, [math.nan] * 3]))
    assert rows[:3] == pytest.approx([10, 20, 30], abs=1e-6)
    assert columns == pytest.approx([-1, 0, 1], abs=1e-6)
    assert math.isnan(rows[3])
