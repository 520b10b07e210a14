"""A ranking finds what is there, says how sure it is, and depends on nothing but the runs."""

import math
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_studies import question, results, runs

from session_api.domain.study.model import Comparison, Direction, Ranking, Result, SafetyFinding, Standing
from session_api.domain.study.ranking import rank

NAN = math.nan


def order(ranking: Ranking) -> list[str]:
    return [one.name for one in ranking.variants]


def named(ranking: Ranking, name: str):
    return next(one for one in ranking.variants if one.name == name)


@pytest.mark.parametrize("direction", list(Direction))
def test_planted_effects_come_out_in_their_true_order(direction) -> None:
    sign = 1 if direction is Direction.MINIMISE else -1
    worth = [sign * one for one in (40, 31, 34, 28, 37, 25)]
    asked = question(6, 10, direction=direction)
    ranking = rank(asked, runs(asked, worth, np.random.default_rng(1)))
    assert order(ranking) == ["v5", "v3", "v1", "v2", "v4", "v0"]
    assert [one.rank for one in ranking.variants] == [1, 2, 3, 4, 5, 6]
    assert ranking.decided
    best, *others = ranking.variants
    assert (best.standing, best.to_leader) == (Standing.LEADING, None)
    assert best.to_baseline is not None
    assert best.to_baseline.comparison is Comparison.BETTER
    assert best.to_baseline.lower < -15 * sign < best.to_baseline.upper
    assert all(one.standing is Standing.DROPPED for one in others)
    assert all(one.to_leader and one.to_leader.comparison is Comparison.WORSE for one in others)
    assert best.probability_best > 0.99
    assert [one.elo for one in ranking.variants] == sorted((one.elo for one in ranking.variants), reverse=True)
    assert np.mean([one.elo for one in ranking.variants]) == pytest.approx(1500)
    way = "lower" if sign == 1 else "higher"
    assert ranking.answer.startswith("v5 is the best of 6: 1")
    assert f"{way} delay than v0 (95 % interval" in ranking.answer
    assert ranking.answer.endswith("10 seeds).")


def test_a_verdict_is_what_its_interval_says() -> None:
    random_ = np.random.default_rng(3)
    seen = set()
    for smallest in (0.0, 2.0):
        asked = question(8, 6, smallest_difference=smallest)
        for _ in range(20):
            ranking = rank(asked, runs(asked, [4, 0, 0.1, 0.2, 2, 4, 8, 16], random_, noise=0.6))
            pairs = [pair for one in ranking.variants for pair in (one.to_baseline, one.to_leader) if pair]
            for pair in pairs:
                expected = Comparison.UNDECIDED
                if pair.lower >= -smallest and pair.upper <= smallest:
                    expected = Comparison.EQUIVALENT
                elif pair.lower > 0 or pair.upper < 0:
                    expected = Comparison.WORSE if pair.mean > 0 else Comparison.BETTER
                assert pair.comparison is expected
                assert (pair.p_value < asked.error_rate) == (pair.lower > 0 or pair.upper < 0)
                seen.add(pair.comparison)
    assert seen == set(Comparison)


def test_what_is_not_decided_is_said_with_about_how_many_seeds_it_takes() -> None:
    asked = question(3, 10)
    ranking = rank(asked, runs(asked, [30, 29.7, 50], np.random.default_rng(2)))
    assert not ranking.decided
    assert named(ranking, "v2").standing is Standing.DROPPED
    assert {one.standing for one in ranking.variants[:2]} == {Standing.LEADING, Standing.CONTENDING}
    assert f"about {ranking.more_seeds} more seeds needed" in ranking.answer
    assert "between v1 and v0" in ranking.answer
    # With as many more, runs like these do decide.
    enough = [one for cycle in range(1 + ranking.more_seeds // 10 + 1) for one in again(asked, cycle)]
    longer = replace(asked, seeds=tuple({one.seed for one in enough}))
    assert rank(longer, enough).decided


def again(asked, cycle: int) -> list[Result]:
    once = runs(asked, [30, 29.7, 50], np.random.default_rng(2))
    return [replace(one, seed=one.seed + 1000 * cycle) for one in once]


def test_a_baseline_that_is_the_last_rival_is_told_as_the_study_decided_it() -> None:
    asked = question(3, 10)
    # 2.6 standard errors: enough for the last of three who may lead, not for all intervals to the baseline together.
    swing = [(-1) ** seed for seed in range(10)]
    apart = 2.6 * (sum(one**2 for one in swing) / 9 / 10) ** 0.5
    ranking = rank(
        asked, results(asked, [[30.0] * 10, [30 - apart + one for one in swing], [90 + one for one in swing]])
    )
    assert ranking.decided
    assert ranking.variants[0].to_baseline is not None
    assert ranking.variants[0].to_baseline.comparison is Comparison.UNDECIDED
    assert ranking.answer == "v1 is the best of 3: 0.87 lower delay than v0 (95 % interval 0.03 to 1.70, 10 seeds)."


def test_variants_that_are_certainly_closer_than_matters_are_equivalent() -> None:
    asked = question(3, 12, smallest_difference=3)
    ranking = rank(asked, runs(asked, [30, 30.2, 30.1], np.random.default_rng(2)))
    assert ranking.decided
    assert [one.standing for one in ranking.variants] == [Standing.LEADING, Standing.EQUIVALENT, Standing.EQUIVALENT]
    assert ranking.answer == "All 3 variants are equivalent: within 3 delay of each other."
    ranking = rank(replace(asked, variants=("v0", "v1", "v2")), runs(asked, [30, 30.2, 60], np.random.default_rng(2)))
    assert ranking.answer == "v0 and v1 are equivalent (within 3 delay of each other) and the best of 3."


def test_the_same_value_in_every_run_is_equivalence_and_in_one_run_is_nothing() -> None:
    asked = question(2, 4)
    ranking = rank(asked, results(asked, [[31.25, 33.5, 30.75, 30.5]] * 2))
    assert ranking.decided
    assert ranking.answer == "Both variants are equivalent: the same delay in every run."
    assert [one.probability_best for one in ranking.variants] == [0.5, 0.5]
    alone = question(2, 1)
    ranking = rank(alone, results(alone, [[31.25], [31.25]]))
    assert not ranking.decided
    assert "cannot be said" in ranking.answer


def test_counts_that_are_equal_by_luck_prove_little_and_large_constant_differences_much() -> None:
    asked = question(2, 3)
    ranking = rank(asked, results(asked, [[1, 1, 1], [0, 0, 0]]))
    assert not ranking.decided
    assert ranking.more_seeds > 0
    ranking = rank(asked, results(asked, [[500, 500, 500], [200, 200, 200]]))
    assert ranking.decided
    irrational = [[math.pi] * 3, [math.e] * 3]
    assert rank(asked, results(asked, irrational)).answer.startswith("v1 is the best of 2: 0.42 lower")


def test_between_looks_nothing_is_decided() -> None:
    asked = question(2, 10)
    everything = runs(asked, [30, 10], np.random.default_rng(1))
    ranking = rank(asked, everything[:-1])
    assert not ranking.decided
    assert ranking.answer == "Not decided yet: 19 of 20 runs are over; v1 leads so far."
    assert ranking.variants[0].to_baseline is not None
    assert ranking.variants[0].to_baseline.comparison is Comparison.UNDECIDED
    assert ranking.variants[1].standing is Standing.CONTENDING
    assert rank(asked, everything).decided
    assert rank(asked, everything[:-1], over=True).decided
    race = replace(asked, first_seeds=4)
    first = [one for one in everything if one.seed <= 4]
    assert rank(race, first, rungs=1) == rank(race, [*first, everything[5]], rungs=2)


def test_broken_constraints_come_after_all_that_keep_them_and_failures_last() -> None:
    asked = question(4, 4, constraints=("collisions <= 0", "teleports <= 3"))
    found = results(asked, [[30, 31, 32, 33], [10, 11, 12, 13], [None] * 4, [20, 21.5, 22, None]])
    found[4] = replace(found[4], broken=(1,))
    found[6] = replace(found[6], broken=(0, 1))
    ranking = rank(asked, found)
    assert [(one.name, one.standing) for one in ranking.variants] == [
        ("v3", Standing.LEADING),
        ("v0", Standing.DROPPED),
        ("v1", Standing.INFEASIBLE),
        ("v2", Standing.FAILED),
    ]
    assert [(one.runs, one.failed) for one in ranking.variants] == [(3, 1), (4, 0), (4, 0), (0, 4)]
    assert named(ranking, "v1").findings == (
        SafetyFinding("collisions <= 0", (3,)),
        SafetyFinding("teleports <= 3", (1, 3)),
    )
    assert ranking.answer.startswith("v3 is the best of 4, 1 of which breaks a constraint: ")
    assert [one.probability_best for one in ranking.variants[2:]] == [0, 0]


def test_who_is_spared_the_hard_seeds_is_not_the_better_for_it() -> None:
    asked = question(2, 4)
    ranking = rank(asked, results(asked, [[30, 40, 50, 90], [32, 42.5, 53, None]]))
    assert order(ranking) == ["v0", "v1"]
    assert named(ranking, "v1").mean < named(ranking, "v0").mean


@pytest.mark.parametrize(
    ("values", "broken", "answer"),
    [
        ([[], []], (), "Not decided yet: 0 of 6 runs are over."),
        ([[None] * 3] * 2, (), "No variant has a value: every run failed."),
        ([[NAN] * 3, [None] * 3], (), "Not decided yet: 3 of 6 runs are over."),
        ([[1, 2, 3.5]] * 2, (0,), "Every variant breaks a constraint."),
    ],
)
def test_without_a_leader_the_answer_says_why(values, broken, answer) -> None:
    asked = question(2, 3, constraints=("collisions <= 0",))
    ranking = rank(asked, [replace(one, broken=broken) for one in results(asked, values)])
    assert ranking.answer == answer
    assert not ranking.decided
    assert len(ranking.variants) == 2


def test_one_variant_is_ranked_and_one_seed_decides_nothing() -> None:
    alone = question(1, 3)
    ranking = rank(alone, results(alone, [[30, 31, 32.5]]))
    assert (ranking.decided, ranking.variants[0].probability_best) == (True, 1.0)
    assert ranking.answer == "Only one variant, v0: mean delay 31.2 (3 seeds)."
    once = question(2, 1)
    ranking = rank(once, results(once, [[1.0], [100.0]]))
    to_leader = ranking.variants[1].to_leader
    assert to_leader is not None
    assert (to_leader.lower, to_leader.upper, to_leader.p_value) == (-math.inf, math.inf, 1)
    assert math.isnan(ranking.variants[0].probability_best)


@pytest.mark.parametrize(
    ("scale", "told"), [(1e-9, "v1 is the best of 2: 2e-09 lower"), (1, "2.00 lower"), (1e8, "2e+08 lower")]
)
def test_values_of_any_size_are_told_with_the_digits_that_are_known(scale, told) -> None:
    asked = question(2, 4)
    values = [[one * scale for one in row] for row in ([10, 11, 12, 13.1], [8, 9, 10.1, 11])]
    assert told in rank(asked, results(asked, values)).answer


def test_what_no_study_has_seeds_for_is_said_so() -> None:
    asked = question(2, 4)
    ranking = rank(asked, results(asked, [[30, 40, 30, 40.01], [40, 30, 40, 30]]))
    assert ranking.more_seeds == 10_000
    assert ranking.answer == "Not decided yet between v1 and v0: more than 10,000 more seeds needed."


def test_a_value_that_is_no_number_is_a_failure() -> None:
    asked = question(2, 3)
    given_ = [*results(asked, [[1, 2, 3.5], [2, 3]]), Result("v1", 3, math.nan)]
    assert named(rank(asked, given_), "v1").failed == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 8), st.booleans())
def test_the_order_of_runs_and_of_seeds_means_nothing(number, variants, seeds, some_failed) -> None:
    asked = question(variants, seeds, constraints=("a <= 1",))
    made = np.random.default_rng(number)
    found = runs(asked, made.integers(0, 3, variants).tolist(), made)
    if some_failed:
        found = [replace(one, value=None) if made.random() < 0.2 else one for one in found]
        found = [replace(one, broken=(0,)) if made.random() < 0.05 else one for one in found]
    shuffled, seeds_shuffled = list(found), list(asked.seeds)
    random.Random(number).shuffle(shuffled)
    random.Random(number).shuffle(seeds_shuffled)
    # As texts: NaN equals nothing, and every digit counts.
    assert repr(rank(asked, found)) == repr(rank(replace(asked, seeds=tuple(seeds_shuffled)), shuffled))


def test_a_thousand_variants_are_ranked_at_once() -> None:
    asked = question(1000, 10)
    worth = np.random.default_rng(1).permutation(1000) * 10.0
    found = runs(asked, worth.tolist(), np.random.default_rng(2))
    began = time.process_time()
    ranking = rank(asked, found)
    assert order(ranking) == [f"v{row}" for row in np.argsort(worth)]
    # Not a figure: what must not happen is a loop over pairs, which takes minutes.
    assert time.process_time() - began < 30
