"""When something is decided: looks at whole rungs.

    race:   rung 1 = first_seeds, 2 = as many again, 3 = twice as many again … all        a look after each
    fixed:  rung 1 = all seeds                                                            one look

To look again and again until a difference shows finds one that is not there; so the number of looks is known before
the first run, and between looks nothing is decided.
"""

from collections.abc import Collection, Iterable

from session_api.domain.study.model import Question, Result


def rungs(question: Question) -> tuple[tuple[int, ...], ...]:
    """The seeds that each rung adds, ascending."""
    seeds = sorted(question.seeds)
    if question.first_seeds is None:
        return (tuple(seeds),)
    ends = [max(1, question.first_seeds)]
    while ends[-1] < len(seeds):
        ends.append(2 * ends[-1])
    return tuple(tuple(seeds[begin:end]) for begin, end in zip([0, *ends[:-1]], ends, strict=True))


def looks(question: Question) -> int:
    """How often something can be decided: one seed alone decides nothing."""
    opened, counted = 0, 0
    for rung in rungs(question):
        opened += len(rung)
        counted += opened > 1
    return max(1, counted)


def seeds_until(question: Question, rung: int) -> tuple[int, ...]:
    """The seeds of the first `rung` rungs, ascending."""
    return tuple(seed for added in rungs(question)[:rung] for seed in added)


def complete_rungs(question: Question, results: Iterable[Result], out: Collection[str], *, opened: int) -> int:
    """How many of the opened rungs have all cells of the variants that are not `out`."""
    over: dict[int, set[str]] = {}
    for one in results:
        over.setdefault(one.seed, set()).add(one.variant)
    awaited = set(question.variants).difference(out)
    for rung, seeds in enumerate(rungs(question)[:opened]):
        if not all(awaited <= over.get(seed, set()) for seed in seeds):
            return rung
    return min(opened, len(rungs(question)))
