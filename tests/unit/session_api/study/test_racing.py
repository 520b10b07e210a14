"""Races: rungs, who goes and why, and when it is over."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_studies import question, results, runs

from session_api.domain.study.looks import complete_rungs, looks, rungs
from session_api.domain.study.racing import after_rung


@pytest.mark.parametrize(
    ("seeds", "first", "sizes", "decisions"),
    [
        (10, 4, [4, 4, 2], 3),
        (10, None, [10], 1),
        (10, 20, [10], 1),
        (10, 10, [10], 1),
        (7, 1, [1, 1, 2, 3], 3),
        (1, 4, [1], 1),
    ],
)
def test_rungs_double_until_all_seeds_are_run(seeds, first, sizes, decisions) -> None:
    asked = replace(question(2, seeds, first_seeds=first), seeds=tuple(range(seeds, 0, -1)))
    assert [len(rung) for rung in rungs(asked)] == sizes
    assert [seed for rung in rungs(asked) for seed in rung] == list(range(1, seeds + 1))
    assert looks(asked) == decisions


def test_a_rung_is_complete_when_all_that_are_left_have_run_it() -> None:
    asked = question(2, 4, first_seeds=2)
    found = results(asked, [[1, 2, 3, 4], [1, None, 3]])
    assert complete_rungs(asked, found, (), opened=2) == 1
    assert complete_rungs(asked, found, ("v1",), opened=2) == 2
    assert complete_rungs(asked, found, ("v1",), opened=1) == 1


def test_what_is_worse_breaks_a_constraint_or_has_no_value_goes() -> None:
    asked = question(5, 12, first_seeds=6, constraints=("collisions <= 0",))
    found = runs(asked, [30, 30.5, 90, 1, 30], np.random.default_rng(5))
    found = [replace(one, broken=(0,)) if one.variant == "v3" and one.seed in (2, 5) else one for one in found]
    found = [replace(one, value=None) if one.variant == "v4" else one for one in found]
    verdict = after_rung(asked, found, rung=1)
    because = {one.variant: one.because for one in verdict.drops}
    assert set(because) == {"v2", "v3", "v4"}
    assert "higher delay than v" in because["v2"]
    assert "6 seeds), which leads" in because["v2"]
    assert because["v3"] == "breaks collisions <= 0 on 2 seeds, which no further run mends"
    assert because["v4"] == "no value on any of 6 seeds"
    assert [one.to_leader is None for one in verdict.drops] == [False, True, True]
    assert (verdict.over, verdict.left) == (False, ("v0", "v1"))
    assert verdict.because == "2 variants are left, 1 of them not decided against the leader"
    again = after_rung(asked, found[::-1], rung=1)
    assert again == verdict
    last = after_rung(asked, found, rung=2, dropped=set(because))
    assert (last.drops, last.over, last.because) == ((), True, "all seeds are run")


def test_a_race_is_over_when_one_is_left_or_none() -> None:
    asked = question(2, 12, first_seeds=6, constraints=("collisions <= 0",))
    found = runs(asked, [30, 90], np.random.default_rng(5))
    verdict = after_rung(asked, found, rung=1)
    assert (verdict.over, verdict.because, verdict.left) == (True, "v0 is left", ("v0",))
    verdict = after_rung(asked, [replace(one, broken=(0,)) for one in found], rung=1)
    assert (verdict.over, verdict.because, verdict.left) == (True, "no variant is left", ())


def test_a_race_is_over_when_the_rest_is_certainly_close_but_not_by_equal_counts() -> None:
    close = question(2, 12, first_seeds=6, smallest_difference=4)
    verdict = after_rung(close, runs(close, [30, 30.2], np.random.default_rng(5), noise=0.3), rung=1)
    assert (verdict.over, verdict.because) == (True, "those that are left are within 4 of each other")
    counts = question(2, 12, first_seeds=4)
    verdict = after_rung(counts, results(counts, [[0] * 12] * 2), rung=1)
    assert (verdict.over, verdict.drops, verdict.left) == (False, (), ("v0", "v1"))
