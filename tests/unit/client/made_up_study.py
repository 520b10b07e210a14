"""Made-up studies to report on: signal plans on a grid of streets, with names as hostile as they come."""

import math
import random
from datetime import UTC, datetime

from milepost.intervention.v1.intervention_pb2 import Close, Intervention, Place
from milepost.report.study.model import Curves, DifferenceMap, EdgeMeans, StudyReport
from milepost.scenario.v1.scenario_pb2 import ScenarioFile, SumoOption
from milepost.session.v1.session_pb2 import PlannedIntervention, SessionSpec
from milepost.study.v1 import study_pb2 as pb
from milepost.study.v1.study_service_pb2 import Decision

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
_COMPARED = {True: pb.Comparison.COMPARISON_WORSE, False: pb.Comparison.COMPARISON_UNDECIDED}


def made_up(variants: int = 6, seeds: int = 8, *, text: str = "", racing: bool = False) -> StudyReport:
    """A study with everything in it; `text` stands wherever a text can be."""
    names = [f"{text}cycle {30 + 10 * number}" for number in range(variants)]
    luck = random.Random(1)
    value = {
        (row, seed): 40.0 + 2 * abs(row - 2) + seed % 3 + luck.gauss(0, 0.8)
        for row in range(variants)
        for seed in range(1, seeds + 1)
    }
    if (2, 3) in value:
        value[1, 3] = value[2, 3] - 1
    order = sorted(range(variants), key=lambda row: sum(value[row, seed] for seed in range(1, seeds + 1)))
    spec = pb.StudySpec(
        base=pb.StudyBase(template=pb.TemplateVersion(name=f"{text}junction", version=3)),
        variants=[_variant(row, names, text) for row in range(variants)],
        seeds=range(1, seeds + 1),
        objective=pb.Objective(
            expression="mean_time_loss_s", constraints=["collisions <= 0"], note=text, smallest_difference=0.5
        ),
        design=pb.Design(
            racing=pb.RacingDesign(first_seeds=4) if racing else None, fixed=None if racing else pb.FixedDesign()
        ),
        budget=pb.Budget(sessions=500),
        session=SessionSpec(end_time_s=28_800, options=[SumoOption(name="time-to-teleport", value=f"300{text}")]),
    )
    study = pb.Study(
        study_id="202601011100-abcdefghij",
        display_name=f"{text}Cycle lengths",
        state=pb.StudyState.STUDY_STATE_COMPLETED,
        end=pb.StudyEnd.STUDY_END_ALL_CELLS,
        spec=spec,
        variants=[
            pb.ResolvedVariant(
                name=name,
                lineage=names[:1] if row == 3 else [],
                version=f"{row:064x}",
                session=SessionSpec(scenario_digest="ab" * 32),
            )
            for row, name in enumerate(names)
        ],
        progress=pb.StudyProgress(
            cells=variants * seeds,
            done=variants * seeds - 1,
            cached=5,
            failed=1,
            sessions=40,
            simulated_s=144_000,
            rungs=1,
        ),
        owner=text,
    )
    study.create_time.FromDatetime(datetime(2026, 1, 1, 11, 0, tzinfo=UTC))
    study.end_time.FromDatetime(datetime(2026, 1, 1, 11, 10, tzinfo=UTC))
    cells = [
        pb.Cell(
            variant=names[row], seed=seed, state=pb.CellState.CELL_STATE_DONE, value=found, session_id=f"s-{row}-{seed}"
        )
        for (row, seed), found in value.items()
        if (row, seed) != (4, 2)
    ]
    cells.append(
        pb.Cell(
            variant=names[min(4, variants - 1)],
            seed=2,
            state=pb.CellState.CELL_STATE_FAILED,
            failure=f"{text}SUMO died",
        )
    )
    return StudyReport(
        study=study,
        ranking=_ranking(names, order, value, seeds),
        made=NOW,
        cells=cells,
        decisions=[
            Decision(seq=2, text=f"rung 1: {seeds} seeds on all {text}"),
            Decision(seq=90, text=f"dropped {text}"),
        ],
        curves=_curves(names, order),
        map=_map(names, order),
        simulators=[f"1.28.0 {text}"],
        reproduce=f"milepost study run study.yaml {text}",
        study_file=f"variants:\n- {text}",
        versions={f"template {text}": f"3 {text}"},
    )


def _variant(row: int, names: list[str], text: str) -> pb.Variant:
    patch = pb.Patch()
    patch.parameters["cycle"].number_value = 30 + 10 * row
    if row == 3:
        closing = Intervention(close=Close(place=Place(edge_ids=[f"{text}A0B0"])))
        patch.parameters[f"name{text}"].string_value = text
        patch.interventions.append(PlannedIntervention(at_time_s=25_500, intervention=closing))
        patch.options.append(SumoOption(name="scale", value=f"1.2{text}"))
        patch.files.append(ScenarioFile(path=f"{text}routes.xml", sha256="cd" * 32))
    return pb.Variant(name=names[row], parent=names[0] if row == 3 else "", patch=patch, comment=text)


def _ranking(names: list[str], order: list[int], value: dict[tuple[int, int], float], seeds: int) -> pb.Ranking:
    mean = [sum(value[row, seed] for seed in range(1, seeds + 1)) / seeds for row in range(len(names))]

    def difference(row: int, other: int) -> pb.PairedDifference:
        apart = mean[row] - mean[other]
        return pb.PairedDifference(
            other=names[other],
            seeds=seeds,
            mean=apart,
            lower=apart - 1.1,
            upper=apart + 1.1,
            p_value=0.01,
            comparison=_COMPARED[abs(apart) > 1.1],
        )

    ranked = []
    for place, row in enumerate(order, start=1):
        one = pb.RankedVariant(
            rank=place,
            name=names[row],
            runs=seeds,
            mean=mean[row],
            standard_deviation=1.25,
            probability_best=0.9 if place == 1 else 0.02,
            elo=1700 - 50 * place,
        )
        one.standing = pb.Standing.STANDING_LEADING if place == 1 else pb.Standing.STANDING_DROPPED
        if row:
            one.to_baseline.CopyFrom(difference(row, 0))
        if place > 1:
            one.to_leader.CopyFrom(difference(row, order[0]))
        if row == 5:
            one.standing = pb.Standing.STANDING_INFEASIBLE
            one.findings.add(constraint="collisions <= 0", seeds=[2, 5])
            one.to_baseline.lower, one.to_baseline.upper = -math.inf, math.inf
        ranked.append(one)
    answer = f"{names[order[0]]} is the best of {len(names)}: 4.1 lower mean_time_loss_s than {names[0]}"
    return pb.Ranking(
        answer=answer, decided=True, method="Paired differences", error_rate=0.05, baseline=names[0], variants=ranked
    )


def _curves(names: list[str], order: list[int]) -> Curves:
    times = [25_200.0 + 300 * bucket for bucket in range(1, 13)]
    lines = {}
    for row in order[:2]:
        for metric in ("running", "arrived", "mean_speed_mps", "teleports"):
            lines[names[row], metric] = [
                [math.nan if bucket == 0 else (row + 1) * 10 + bucket + run for bucket in range(12)] for run in range(3)
            ]
            if metric == "teleports":
                lines[names[row], metric] = [[0.0] * 12] * 3
    return Curves(300, times, lines)


def _map(names: list[str], order: list[int], size: int = 8) -> DifferenceMap:
    luck = random.Random(2)
    shapes, before, after = {}, {}, {}
    for x in range(size):
        for y in range(size):
            for to_x, to_y in ((x + 1, y), (x, y + 1)):
                if max(to_x, to_y) < size:
                    edge = f"{x}/{y}to{to_x}/{to_y}"
                    shapes[edge] = [
                        (x * 100.0, y * 100.0),
                        ((x + to_x) * 50.0, (y + to_y) * 50.0 + 6),
                        (to_x * 100.0, to_y * 100.0),
                    ]
                    before[edge] = EdgeMeans(10 + luck.random(), 100 * luck.random(), 50)
                    after[edge] = EdgeMeans(10 + luck.gauss(0, 3) * (x == y), 100 * luck.random(), 50)
    shapes["lonely"] = [(0.0, -50.0), (300.0, -50.0)]
    return DifferenceMap(shapes, names[order[0]], names[0], after, before, [1])
