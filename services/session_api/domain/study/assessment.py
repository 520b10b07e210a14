"""What runs amount to, before it is told: who may be the best, who leads, how the others compare with the leader."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_api.domain.study.differences import Differences, to_leader
from session_api.domain.study.model import Comparison, Direction, Question, Result, SafetyFinding
from session_api.domain.study.runs import Floats, Runs, additive_fit, runs

Findings = Mapping[str, tuple[SafetyFinding, ...]]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Rows are those of the study's variants."""

    question: Question
    runs: Runs
    score: Floats
    """What each would have on the average seed; NaN: no value."""
    seed_effects: Floats
    findings: Findings
    """Constraints that a variant broke; only of those that did."""
    contends: NDArray[np.bool_]
    """May be the best: has a value, keeps the constraints, was not dropped."""
    to_leader: Differences | None
    """None: there is no leader."""
    leader: int | None

    def verdict(self, row: int) -> Comparison:
        """Of a variant against the leader. Raises AssertionError when there is none."""
        assert self.to_leader is not None
        return self.to_leader.verdict(row, self.question)

    def rivals(self) -> list[int]:
        """Rows of those that may be the best, but the leader."""
        return [row for row in np.flatnonzero(self.contends).tolist() if row != self.leader]

    def verdicts(self) -> dict[int, Comparison]:
        """Of each rival."""
        return {row: self.verdict(row) for row in self.rivals()}


def assess(
    question: Question,
    results: Collection[Result],
    *,
    dropped: Collection[str] = (),
    seeds: Iterable[int] | None = None,
) -> Assessment:
    """Judges the results on these seeds (all where None). A broken constraint counts on whatever seed it was seen."""
    found = runs(question, results, seeds=seeds)
    findings = safety_findings(question, results)
    score, seed_effects = additive_fit(found.values)
    out = {*dropped, *findings}
    contends = ~np.isnan(score) & np.array([name not in out for name in question.variants])
    leader = _best(score, contends, question.direction)
    compared = None if leader is None else to_leader(question, found, leader)
    return Assessment(question, found, score, seed_effects, findings, contends, compared, leader)


def _best(score: Floats, contends: NDArray[np.bool_], direction: Direction) -> int | None:
    """The first of equals."""
    if not contends.any():
        return None
    cost = score if direction is Direction.MINIMISE else -score
    return int(np.where(contends, cost, np.inf).argmin())


def safety_findings(question: Question, results: Iterable[Result]) -> Findings:
    """The seeds on which each variant broke each constraint."""
    seeds: dict[str, dict[int, set[int]]] = {}
    for one in results:
        for constraint in one.broken:
            seeds.setdefault(one.variant, {}).setdefault(constraint, set()).add(one.seed)
    return {
        variant: tuple(
            SafetyFinding(question.constraints[number], tuple(sorted(broken[number]))) for number in sorted(broken)
        )
        for variant, broken in seeds.items()
    }
