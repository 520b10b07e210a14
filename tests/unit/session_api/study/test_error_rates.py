"""What the error rate promises, counted over made-up studies without any difference, or with known ones."""

import numpy as np
from made_up_studies import question, runs, within

from session_api.domain.study.looks import rungs
from session_api.domain.study.model import Comparison, Question, Result, Standing
from session_api.domain.study.racing import after_rung
from session_api.domain.study.ranking import rank

DIFFERENT = {Comparison.BETTER, Comparison.WORSE}


def test_two_identical_variants_are_called_different_no_more_often_than_stated() -> None:
    random = np.random.default_rng(11)
    for error_rate, seeds in ((0.05, 4), (0.05, 10), (0.2, 5)):
        asked = question(2, seeds, error_rate=error_rate)
        wrong = sum(rank(asked, runs(asked, [0, 0], random)).decided for _ in range(400))
        assert 400 * error_rate * 0.4 < wrong <= within(error_rate, 400)


def test_of_many_identical_variants_none_is_called_worse_more_often_than_stated() -> None:
    random = np.random.default_rng(12)
    asked = question(8, 6)
    to_leader = to_baseline = 0
    for _ in range(400):
        ranking = rank(asked, runs(asked, [0] * 8, random))
        to_leader += any(one.standing is Standing.DROPPED for one in ranking.variants)
        to_baseline += any(one.to_baseline and one.to_baseline.comparison in DIFFERENT for one in ranking.variants)
    assert 0 < to_leader <= within(0.05, 400)
    assert 0 < to_baseline <= within(0.05, 400)


def test_intervals_to_the_baseline_cover_all_true_differences_together() -> None:
    random = np.random.default_rng(13)
    asked = question(6, 5, error_rate=0.1)
    worth = [3, 0, 0.5, 1, 2, 8]
    missed = 0
    for _ in range(400):
        ranking = rank(asked, runs(asked, worth, random))
        missed += not all(
            one.to_baseline.lower <= worth[int(one.name[1:])] - worth[0] <= one.to_baseline.upper
            for one in ranking.variants
            if one.to_baseline
        )
    assert 400 * 0.1 * 0.4 < missed <= within(0.1, 400)


def raced(asked: Question, everything: list[Result]) -> tuple[set[str], int]:
    """Who was dropped, and the runs it took."""
    dropped: set[str] = set()
    spent: list[Result] = []
    for rung, seeds in enumerate(rungs(asked), start=1):
        spent += [one for one in everything if one.seed in seeds and one.variant not in dropped]
        verdict = after_rung(asked, spent, rung=rung, dropped=dropped)
        dropped |= {one.variant for one in verdict.drops}
        assert set(verdict.left) == set(asked.variants) - dropped
        if verdict.over:
            break
    return dropped, len(spent)


def test_a_race_drops_nothing_by_luck_more_often_than_stated() -> None:
    random = np.random.default_rng(14)
    asked = question(5, 16, first_seeds=2, error_rate=0.1)
    wrong = sum(bool(raced(asked, runs(asked, [0] * 5, random))[0]) for _ in range(400))
    assert 0 < wrong <= within(0.1, 400)


def test_a_race_keeps_the_best_and_spends_less_than_all_runs() -> None:
    random = np.random.default_rng(15)
    asked = question(6, 32, first_seeds=4)
    lost, spent, found = 0, 0, 0
    for _ in range(60):
        dropped, cells = raced(asked, runs(asked, [0, 1.5, 2, 8, 9, 10], random))
        lost += "v0" in dropped
        found += len(dropped) == 5
        spent += cells
    assert lost <= within(0.05, 60)
    assert found > 45
    assert spent < 60 * 6 * 32 * 0.5
