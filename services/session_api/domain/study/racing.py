"""Racing: after each complete rung, what is decided against gets no more seeds.

A variant goes when it is worse than the leader at the level of one comparison at one look, which is what keeps the best
in the race (docs/studies.md). It also goes when it broke a constraint, as no further run mends that and the runs saved
serve those that may still win; and when it has no value on any seed of the rungs so far.
"""

from collections.abc import Collection

import numpy as np

from session_api.domain.study import sentences
from session_api.domain.study.assessment import Assessment, assess
from session_api.domain.study.looks import rungs, seeds_until
from session_api.domain.study.model import Comparison, Drop, Question, Result, RungVerdict


def after_rung(
    question: Question, results: Collection[Result], *, rung: int, dropped: Collection[str] = ()
) -> RungVerdict:
    """What follows from the first `rung` rungs (from 1), all of whose cells are over but those of the `dropped`.

    The same results, in any order, have the same consequences.
    """
    seeds = seeds_until(question, rung)
    known = [one for one in results if one.seed in set(seeds)]
    found = assess(question, known, dropped=dropped, seeds=seeds)
    drops = tuple(
        drop for row, name in enumerate(question.variants) if name not in dropped and (drop := _drop(found, row, seeds))
    )
    gone = {*dropped, *(drop.variant for drop in drops)}
    left = tuple(name for name in question.variants if name not in gone)
    over, because = _over(found, left)
    if not over and rung >= len(rungs(question)):
        over, because = True, "all seeds are run"
    return RungVerdict(drops, over, because, left)


def _drop(found: Assessment, row: int, seeds: Collection[int]) -> Drop | None:
    question = found.question
    name = question.variants[row]
    if name in found.findings:
        return Drop(name, f"{sentences.broken(found.findings[name])}, which no further run mends", None)
    if np.isnan(found.score[row]):
        return Drop(name, f"no value on any of {len(seeds)} seeds", None)
    if row == found.leader or found.verdict(row) is not Comparison.WORSE:
        return None
    assert found.to_leader is not None
    to_leader = found.to_leader.pair(row, question)
    return Drop(name, f"{sentences.difference(to_leader, question)}, which leads", to_leader)


def _over(found: Assessment, left: Collection[str]) -> tuple[bool, str]:
    """Equal values of a few runs end no race, as rare events may still tell them apart; an interval does."""
    if not left:
        return True, "no variant is left"
    if len(left) == 1:
        return True, f"{next(iter(left))} is left"
    assert found.to_leader is not None
    rows = [row for row in found.rivals() if found.question.variants[row] in left]
    if all(found.to_leader.within(row, found.question) for row in rows):
        return True, f"those that are left are within {found.question.smallest_difference:g} of each other"
    undecided = sum(found.verdict(row) is not Comparison.EQUIVALENT for row in rows)
    return False, f"{len(left)} variants are left, {undecided} of them not decided against the leader"
