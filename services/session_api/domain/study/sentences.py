"""Findings in plain English."""

import math
from collections.abc import Sequence

import numpy as np

from session_api.domain.study.assessment import Assessment
from session_api.domain.study.looks import looks
from session_api.domain.study.model import Comparison, PairedDifference, Question, SafetyFinding

_MOST_NAMES = 4


def number(value: float, like: float) -> str:
    """A value with as many decimals as make sense beside something as large as `like`."""
    if not 1e-4 < abs(like) < 1e6:
        return f"{value:.4g}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(abs(like))))}f}"


def names(all_names: Sequence[str]) -> str:
    """`a, b and c`, or the first few and how many more."""
    shown = list(all_names)
    if len(shown) > _MOST_NAMES:
        shown = [*shown[: _MOST_NAMES - 1], f"{len(shown) - _MOST_NAMES + 1} others"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def percent(question: Question) -> str:
    """How sure all intervals together are."""
    return f"{100 * (1 - question.error_rate):g} %"


def difference(found: PairedDifference, question: Question) -> str:
    """`4.1 lower mean_time_loss_s than base (95 % interval 3.2 to 5.0, 10 seeds)`."""
    half = (found.upper - found.lower) / 2
    like = half if math.isfinite(half) and half > 0 else found.mean
    seeds = f"{found.seeds} seed{'s' if found.seeds != 1 else ''}"
    if abs(found.mean) > half:
        way = "lower" if found.mean < 0 else "higher"
        least, most = sorted((abs(found.lower), abs(found.upper)))
        interval = f"{percent(question)} interval {number(least, like)} to {number(most, like)}"
        return f"{number(abs(found.mean), like)} {way} {question.objective} than {found.other} ({interval}, {seeds})"
    interval = f"{percent(question)} interval {number(found.lower, like)} to {number(found.upper, like)}"
    told = interval if math.isfinite(half) else "no interval"
    return f"difference in {question.objective} to {found.other} {number(found.mean, like)} ({told}, {seeds})"


def broken(findings: Sequence[SafetyFinding]) -> str:
    """`breaks collisions <= 0 on 3 seeds`."""
    return "breaks " + " and ".join(
        f"{one.constraint} on {len(one.seeds)} seed{'s' if len(one.seeds) != 1 else ''}" for one in findings
    )


def method(question: Question) -> str:
    """How it was found."""
    variants, times = len(question.variants), looks(question)
    over = f"{variants - 1} comparisons" if variants != 2 else "1 comparison"
    over += f" and {times} looks" if times > 1 else ""
    return (
        f"Paired differences on the same seeds, Student's t; against the baseline {percent(question)} over {over} "
        f"together (Bonferroni), against the leader {percent(question)} whichever of the {variants} leads (Holm)"
    )


def unfinished(found: Assessment, over: int, cells: int) -> str:
    """Nothing is decided yet."""
    runs = f"{over} of {cells} runs are over"
    if found.leader is None:
        return f"Not decided yet: {runs}."
    return f"Not decided yet: {runs}; {found.question.variants[found.leader]} leads so far."


def nobody(found: Assessment) -> str:
    """There is no leader."""
    variants = len(found.question.variants)
    infeasible = len(found.findings)
    if infeasible == variants:
        return "Every variant breaks a constraint." if variants > 1 else "The variant breaks a constraint."
    if infeasible:
        return f"No variant is left: {infeasible} of {variants} break a constraint, the others have no value."
    if found.runs.failed.sum():
        return "No variant has a value: every run failed."
    return "No run is over."


def only(found: Assessment) -> str:
    """There is one variant."""
    values = found.runs.values[0]
    there = values[~np.isnan(values)]
    spread = float(there.std(ddof=1)) if len(there) > 1 else 0.0
    mean = number(float(there.mean()), spread)
    return (
        f"Only one variant, {found.question.variants[0]}: mean {found.question.objective} {mean} ({len(there)} seeds)."
    )


def decided(found: Assessment, to_baseline: PairedDifference | None, best_rival: int | None) -> str:
    """One is the best, or those that may be are equivalent."""
    question = found.question
    assert found.leader is not None
    assert found.to_leader is not None
    leader = question.variants[found.leader]
    verdicts = found.verdicts()
    alike = [question.variants[row] for row, verdict in verdicts.items() if verdict is Comparison.EQUIVALENT]
    if alike and len(alike) + 1 == len(question.variants):
        how = "both variants" if len(alike) == 1 else f"all {len(alike) + 1} variants"
        return f"{how[0].upper()}{how[1:]} are equivalent: {_alike(found, verdicts)}."
    if alike:
        return f"{names([leader, *alike])} are equivalent ({_alike(found, verdicts)}) and the best of {_all(found)}."
    against = to_baseline or (None if best_rival is None else found.to_leader.pair(best_rival, question))
    best = f"{leader}{'' if to_baseline else ', the baseline,'} is the best of {_all(found)}"
    if against is None:
        return f"{best}."
    if to_baseline is None and best_rival is not None:
        return f"{best}: {question.variants[best_rival]}, the next, has {_has(difference(against, question))}."
    return f"{best}: {difference(against, question)}."


def undecided(found: Assessment, rivals: Sequence[int], more_seeds: int, most: int) -> str:
    """It takes more seeds."""
    question = found.question
    assert found.leader is not None
    between = names([question.variants[row] for row in (found.leader, *rivals)])
    if not more_seeds:
        return f"Not decided between {between}; how many more seeds it takes cannot be said."
    about = f"more than {most:,}" if more_seeds >= most else f"about {more_seeds:,}"
    plural = "" if more_seeds == 1 else "s"
    return f"Not decided yet between {between}: {about} more seed{plural} needed."


def _alike(found: Assessment, verdicts: dict[int, Comparison]) -> str:
    assert found.to_leader is not None
    rows = [row for row, verdict in verdicts.items() if verdict is Comparison.EQUIVALENT]
    if all(found.to_leader.equal[row] for row in rows):
        return f"the same {found.question.objective} in every run"
    return f"within {found.question.smallest_difference:g} {found.question.objective} of each other"


def _all(found: Assessment) -> str:
    breaking = len(found.findings)
    unsafe = f", {breaking} of which break{'s' if breaking == 1 else ''} a constraint" if breaking else ""
    return f"{len(found.question.variants)}{unsafe}"


def _has(words: str) -> str:
    return words if words[0].isdigit() else f"a {words}"
