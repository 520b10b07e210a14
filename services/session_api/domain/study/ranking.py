"""The ranking: what the runs so far say, and how sure that is. docs/studies.md says what the error rate promises."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from session_api.domain.study import sentences
from session_api.domain.study.assessment import Assessment, assess
from session_api.domain.study.best import probabilities
from session_api.domain.study.differences import MOST_SEEDS, Differences, seeds_needed, to_baseline
from session_api.domain.study.elo import ratings
from session_api.domain.study.looks import complete_rungs, seeds_until
from session_api.domain.study.model import (
    Comparison,
    Direction,
    PairedDifference,
    Question,
    RankedVariant,
    Ranking,
    Result,
    Standing,
)
from session_api.domain.study.runs import Floats


def rank(
    question: Question,
    results: Collection[Result],
    *,
    dropped: Collection[str] = (),
    rungs: int = 1,
    over: bool = False,
) -> Ranking:
    """Ranks all variants by results in any order, at most one per cell.

    `rungs` of the design are open, and a race has `dropped` these. All is told as of the last rung that is complete
    (broken constraints at once); before the first one is, as of now, and everything is undecided. When the study is
    `over`, whatever is there is judged: nothing follows.
    """
    out = {*dropped, *(one.variant for one in results if one.broken)}
    complete = complete_rungs(question, results, out, opened=rungs)
    certain = over or complete > 0
    seeds = None if over or not complete else seeds_until(question, complete)
    found = assess(question, results, dropped=dropped, seeds=seeds)
    against = to_baseline(question, found.runs)
    standings = _standings(found, dropped, certain=certain)
    to_leader = found.to_leader
    chance = _chances(found)
    elo = ratings(found.runs.values, less_is_better=question.direction is Direction.MINIMISE)
    order = sorted(range(len(question.variants)), key=lambda row: _place(found, standings[row], row))
    answer, decided, more_seeds = _answer(found, against, standings, order, results, certain=certain, rungs=rungs)

    def ranked(place: int, row: int) -> RankedVariant:
        values = found.runs.values[row]
        there = values[~np.isnan(values)]
        name = question.variants[row]
        return RankedVariant(
            rank=place,
            name=name,
            standing=standings[row],
            runs=len(there),
            failed=int(found.runs.failed[row]),
            mean=float(there.mean()) if len(there) else np.nan,
            standard_deviation=float(there.std(ddof=1)) if len(there) > 1 else np.nan,
            to_baseline=against.pair(row, question, certain=certain) if name != question.baseline else None,
            to_leader=None
            if to_leader is None or row == found.leader
            else to_leader.pair(row, question, certain=certain),
            probability_best=float(chance[row]),
            elo=float(elo[row]),
            findings=found.findings.get(name, ()),
        )

    return Ranking(
        answer=answer,
        decided=decided,
        more_seeds=more_seeds,
        method=sentences.method(question),
        error_rate=question.error_rate,
        baseline=question.baseline,
        variants=tuple(ranked(place, row) for place, row in enumerate(order, start=1)),
    )


def _standings(found: Assessment, dropped: Collection[str], *, certain: bool) -> list[Standing]:
    standings = []
    for row, name in enumerate(found.question.variants):
        if name in found.findings:
            standing = Standing.INFEASIBLE
        elif np.isnan(found.score[row]):
            # Nothing is known of one that waits for its first run: it may be anything.
            standing = Standing.FAILED if found.runs.failed[row] else Standing.CONTENDING
        elif name in dropped:
            standing = Standing.DROPPED
        elif row == found.leader:
            standing = Standing.LEADING
        else:
            standing = _STANDINGS[found.verdict(row)] if certain else Standing.CONTENDING
        standings.append(standing)
    return standings


_STANDINGS = {
    Comparison.BETTER: Standing.CONTENDING,
    Comparison.UNDECIDED: Standing.CONTENDING,
    Comparison.WORSE: Standing.DROPPED,
    Comparison.EQUIVALENT: Standing.EQUIVALENT,
}


def _place(found: Assessment, standing: Standing, row: int) -> tuple[int, int, float, int]:
    """What is safe before what is not, what may be the best before what may not, then the better score."""
    match standing:
        case Standing.LEADING:
            group = 0
        case Standing.FAILED:
            group = 4
        case Standing.INFEASIBLE:
            group = 3
        case _:
            group = 1 if found.contends[row] else 2
    score = float(found.score[row])
    cost = np.inf if np.isnan(score) else score if found.question.direction is Direction.MINIMISE else -score
    unsafe = sum(len(one.seeds) for one in found.findings.get(found.question.variants[row], ()))
    return group, unsafe, cost, row


def _chances(found: Assessment) -> Floats:
    """Of the others it is 0. A run that failed counts as what it was likely to give."""
    chance = np.zeros(len(found.score))
    values = found.runs.values[found.contends]
    likely = found.score[found.contends][:, None] + found.seed_effects[None, :]
    less_is_better = found.question.direction is Direction.MINIMISE
    filled = np.where(np.isnan(values), likely, values)
    if len(filled):
        chance[found.contends] = probabilities(filled, less_is_better=less_is_better)
    return chance


def _answer(
    found: Assessment,
    against: Differences,
    standings: list[Standing],
    order: list[int],
    results: Collection[Result],
    *,
    certain: bool,
    rungs: int,
) -> tuple[str, bool, int]:
    """The sentence, whether it is decided, and how many more seeds it takes."""
    question = found.question
    if not certain:
        cells = len(seeds_until(question, rungs)) * len(question.variants)
        return sentences.unfinished(found, len(results), cells), False, 0
    if found.leader is None:
        return sentences.nobody(found), False, 0
    if len(question.variants) == 1:
        return sentences.only(found), True, 0
    # One that has no value yet may still be the best.
    waiting = [row for row in order if standings[row] is Standing.CONTENDING and np.isnan(found.score[row])]
    open_rivals = [row for row in order if standings[row] is Standing.CONTENDING and row not in waiting]
    if not open_rivals and not waiting:
        name = question.variants[found.leader]
        to_base = None if name == question.baseline else _best_to_baseline(found, against)
        rival = next((row for row in order if row != found.leader and not np.isnan(found.score[row])), None)
        return sentences.decided(found, to_base, rival), True, 0
    more = _more_seeds(found, open_rivals) if not waiting else 0
    return sentences.undecided(found, [*open_rivals, *waiting], more, MOST_SEEDS), False, more


def _best_to_baseline(found: Assessment, against: Differences) -> PairedDifference:
    """The leader against the baseline, as the study decided it.

    A baseline that is the leader's last rival may be worse than it by the one promise when the other does not say yet
    that the leader is better.
    """
    question = found.question
    assert found.leader is not None
    assert found.to_leader is not None
    pair = against.pair(found.leader, question)
    if pair.comparison is not Comparison.UNDECIDED:
        return pair
    turned = found.to_leader.pair(question.variants.index(question.baseline), question)
    return replace(pair, mean=-turned.mean, lower=-turned.upper, upper=-turned.lower)


def _more_seeds(found: Assessment, rivals: list[int]) -> int:
    """Until every rival is decided, if means and deviations stay as they are."""
    assert found.to_leader is not None
    needed = seeds_needed(found.to_leader, rivals, found.question)
    there = int(found.to_leader.seeds[rivals].min())
    return needed if needed in (0, MOST_SEEDS) else max(1, needed - there)
