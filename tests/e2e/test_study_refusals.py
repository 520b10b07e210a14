"""What is wrong with a study is told by its field."""

import pytest
from google.protobuf.struct_pb2 import Value
from study_specs import BEGIN_S, END_S, demand, refused, spec_of

from milepost.intervention.v1.intervention_pb2 import Close, Intervention, Place
from milepost.session.v1.session_pb2 import PhaseKind
from stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _number(value: float) -> Value:
    return Value(number_value=value)


WRONG = {
    "an unknown KPI": (lambda s: setattr(s.objective, "expression", "mean_time_los_s"), "spec.objective.expression"),
    "an objective of nothing": (lambda s: setattr(s.objective, "expression", "1 + 1"), "spec.objective.expression"),
    "an objective that is never defined": (
        lambda s: setattr(s.objective, "expression", "arrived / 0"),
        "spec.objective.expression",
    ),
    "a constraint on nothing": (lambda s: s.objective.constraints.append("1 <= 2"), "spec.objective.constraints[1]"),
    "no constraint": (lambda s: s.objective.constraints.append("arrived"), "spec.objective.constraints[1]"),
    "zero seeds": (lambda s: s.ClearField("seeds"), "spec.seeds"),
    "too many cells": (lambda s: s.seeds.extend(range(1000, 11000 - 3)), "spec.seeds"),
    "a seed twice": (lambda s: s.seeds.append(1), "spec.seeds"),
    "a name twice": (lambda s: s.variants.append(demand("x1", "2")), "spec.variants[4].name"),
    "a variant that is its own parent": (lambda s: setattr(s.variants[1], "parent", "x1"), "spec.variants[1].parent"),
    "an unknown parent": (lambda s: setattr(s.variants[1], "parent", "x9"), "spec.variants[1].parent"),
    "an unknown baseline": (lambda s: setattr(s.design, "baseline", "x9"), "spec.design.baseline"),
    "an unknown phase": (lambda s: setattr(s.objective, "phase", "rush"), "spec.objective.phase"),
    "a phase after the end": (
        lambda s: (
            setattr(s.objective, "phase", "late"),
            s.session.plan.add(name="late", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=3600),
        ),
        "spec.objective.phase",
    ),
    "an option that is not allowed": (
        lambda s: s.variants[2].patch.options.add(name="remote-port", value="1"),
        "spec.variants[2].patch.options",
    ),
    "a parameter without a template": (
        lambda s: s.variants[0].patch.parameters["cycle_s"].CopyFrom(_number(60)),
        "spec.variants[0].patch.parameters.cycle_s",
    ),
    "an edge that is not there": (
        lambda s: s.variants[1].patch.interventions.add(
            at_time_s=BEGIN_S + 60, intervention=Intervention(close=Close(place=Place(edge_ids=["nowhere"])))
        ),
        "spec.variants[1].patch.interventions[0].intervention.close.place.edge_ids[0]",
    ),
    "an intervention after the end": (
        lambda s: s.session.interventions.add(
            at_time_s=END_S, intervention=Intervention(close=Close(place=Place(edge_ids=["nowhere"])))
        ),
        "spec.session.interventions[0].at_time_s",
    ),
    "a seed for all": (lambda s: setattr(s.session, "seed", 3), "spec.session.seed"),
    "an end before the begin": (lambda s: setattr(s.session, "end_time_s", 5), "spec.session.end_time_s"),
}


async def test_what_is_wrong_is_refused_by_its_field_before_anything_runs(stack: RunningStack, digest: str) -> None:
    studies = len([one async for one in stack.client.studies.list()])
    for change, field in WRONG.values():
        spec = spec_of(digest, seeds=range(1, 4))
        change(spec)
        await refused(stack, spec, field)
    assert len([one async for one in stack.client.studies.list()]) == studies
