"""From a study as it stands to its question, and from the answer back to the contract."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from milepost.study.v1 import study_pb2 as pb
from session_api.application.study.study_state import StudySoFar
from session_api.domain.study import model
from session_api.domain.study.looks import rungs
from session_api.domain.study.racing import after_rung
from session_api.domain.study.ranking import rank

DEFAULT_ERROR_RATE = 0.05
DEFAULT_FIRST_SEEDS = 4
# Rankings that are kept: one of a thousand variants takes a second.
_REMEMBERED = 32


def question_of(study: StudySoFar) -> model.Question:
    """What the study compares."""
    spec = study.plan.spec
    design, objective = spec.design, spec.objective
    names = tuple(one.name for one in spec.variants)
    maximise = objective.direction == pb.Direction.DIRECTION_MAXIMISE
    racing = design.WhichOneof("kind") == "racing"
    return model.Question(
        variants=names,
        seeds=tuple(study.plan.seeds),
        baseline=design.baseline or names[0],
        objective=objective.expression,
        constraints=tuple(objective.constraints),
        direction=model.Direction.MAXIMISE if maximise else model.Direction.MINIMISE,
        error_rate=design.error_rate or DEFAULT_ERROR_RATE,
        smallest_difference=objective.smallest_difference,
        first_seeds=(design.racing.first_seeds or DEFAULT_FIRST_SEEDS) if racing else None,
    )


def results_of(study: StudySoFar) -> list[model.Result]:
    """Its cells that are over, in the order of variants and seeds."""
    return [
        model.Result(
            cell.variant,
            cell.seed,
            cell.value if cell.state == pb.CellState.CELL_STATE_DONE else None,
            tuple(cell.broken_constraints),
        )
        for _, cell in sorted(study.cells.items())
    ]


def planned_rungs(study: StudySoFar) -> Sequence[Sequence[int]]:
    """Seeds of each rung that the design may come to."""
    return rungs(question_of(study))


async def verdict(study: StudySoFar) -> model.RungVerdict:
    """What follows from the rungs so far, all of whose cells are over."""
    dropped = [study.plan.variants[index].name for index in study.dropped]
    return await asyncio.to_thread(
        after_rung, question_of(study), results_of(study), rung=len(study.rungs), dropped=dropped
    )


@dataclass(frozen=True, slots=True)
class Judge:
    """Ranks; remembers what it said of the same log."""

    _known: OrderedDict[tuple[str, str, int, bool], pb.Ranking] = field(default_factory=OrderedDict)

    async def __call__(self, tenant: str, study: StudySoFar, *, over: bool = False) -> pb.Ranking:
        """What the runs so far say; `over`: no more will follow, though the log does not say so yet."""
        over = over or study.end_time is not None
        key = (tenant, study.study_id, study.place.seq, over)
        if key not in self._known:
            dropped_after = {one.variant: one.rung for one in study.dropped.values()}
            found = await asyncio.to_thread(
                rank,
                question_of(study),
                results_of(study),
                dropped=[study.plan.variants[index].name for index in study.dropped],
                rungs=max(1, len(study.rungs)),
                over=over,
            )
            self._known[key] = _ranking(found, study.study_id, key[2], dropped_after)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]


def _ranking(found: model.Ranking, study_id: str, seq: int, dropped_after: Mapping[str, int]) -> pb.Ranking:
    return pb.Ranking(
        study_id=study_id,
        seq=seq,
        answer=found.answer,
        decided=found.decided,
        more_seeds=found.more_seeds,
        method=found.method,
        error_rate=found.error_rate,
        baseline=found.baseline,
        variants=[_ranked(one, dropped_after.get(one.name, 0)) for one in found.variants],
    )


def _ranked(one: model.RankedVariant, dropped_after_rung: int) -> pb.RankedVariant:
    return pb.RankedVariant(
        rank=one.rank,
        name=one.name,
        standing=pb.Standing.Value(f"STANDING_{one.standing.name}"),
        runs=one.runs,
        failed=one.failed,
        mean=one.mean,
        standard_deviation=one.standard_deviation,
        to_baseline=difference(one.to_baseline),
        to_leader=difference(one.to_leader),
        probability_best=one.probability_best,
        elo=one.elo,
        findings=[pb.SafetyFinding(constraint=it.constraint, seeds=it.seeds) for it in one.findings],
        dropped_after_rung=dropped_after_rung,
    )


def difference(one: model.PairedDifference | None) -> pb.PairedDifference | None:
    """A difference, as the contract has it."""
    if one is None:
        return None
    return pb.PairedDifference(
        other=one.other,
        seeds=one.seeds,
        mean=one.mean,
        lower=one.lower,
        upper=one.upper,
        p_value=one.p_value,
        comparison=pb.Comparison.Value(f"COMPARISON_{one.comparison.name}"),
    )
