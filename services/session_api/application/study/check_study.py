"""What is wrong with a study that can be seen without looking anything up."""

from collections.abc import Iterator
from typing import Final

from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1.study_pb2 import Objective, StudySpec
from runtime.errors import CallRefused, FieldViolation
from runtime.grpc_calls import validate
from session_api.application.study.run_values import KPI_CLASSES
from session_api.domain.study.expressions import BadExpression
from session_api.domain.study.objective import compile_constraint, compile_objective

# Cells of a study: its log stays some ten megabytes, and so does what is folded of it.
MAX_CELLS = 100_000
# Interventions of one session, as its contract says.
MAX_INTERVENTIONS = 2000
_ANY_DIGEST = "0" * 64
# Fields of the common spec that variants and seeds fill in, or that would only stand in the way.
_NOT_COMMON: Final = ("scenario_digest", "seed", "start_paused", "pace")


def check_study(spec: StudySpec) -> list[FieldViolation]:
    """All of it, each by its field."""
    return [*_size(spec), *_variants(spec), *_objective(spec), *_session(spec.session)]


def _size(spec: StudySpec) -> Iterator[FieldViolation]:
    cells = len(spec.variants) * len(spec.seeds)
    if cells > MAX_CELLS:
        yield FieldViolation(
            "spec.seeds",
            f"{len(spec.variants)} variants on {len(spec.seeds)} seeds are {cells} cells, over {MAX_CELLS}",
        )
    planned: dict[str, int] = {"": len(spec.session.interventions)}
    for index, variant in enumerate(spec.variants):
        count = planned.get(variant.parent, 0) + len(variant.patch.interventions)
        planned.setdefault(variant.name, count)
        if count > MAX_INTERVENTIONS:
            yield FieldViolation(
                f"spec.variants[{index}].patch.interventions",
                f"are {count} with those of its parents, over {MAX_INTERVENTIONS}",
            )


def _variants(spec: StudySpec) -> Iterator[FieldViolation]:
    known: dict[str, int] = {}
    for index, variant in enumerate(spec.variants):
        path = f"spec.variants[{index}]"
        if variant.name in known:
            yield FieldViolation(f"{path}.name", f"{variant.name!r} is also spec.variants[{known[variant.name]}]")
        if variant.parent and variant.parent not in known:
            yield FieldViolation(f"{path}.parent", f"{variant.parent!r} is no variant before this one")
        known.setdefault(variant.name, index)
        if spec.base.WhichOneof("from") == "scenario_digest" and variant.patch.parameters:
            name = min(variant.patch.parameters)
            yield FieldViolation(f"{path}.patch.parameters.{name}", "parameters need a template as the base")
    if spec.design.baseline and spec.design.baseline not in known:
        yield FieldViolation("spec.design.baseline", f"{spec.design.baseline!r} is no variant")


def _objective(spec: StudySpec) -> Iterator[FieldViolation]:
    objective: Objective = spec.objective
    names = frozenset(KPI_CLASSES)
    try:
        compile_objective(objective.expression, names)
    except BadExpression as error:
        yield FieldViolation("spec.objective.expression", str(error))
    for index, constraint in enumerate(objective.constraints):
        try:
            compile_constraint(constraint, names)
        except BadExpression as error:
            yield FieldViolation(f"spec.objective.constraints[{index}]", str(error))
    if objective.phase and objective.phase not in {phase.name for phase in spec.session.plan}:
        yield FieldViolation("spec.objective.phase", f"{objective.phase!r} is no phase of spec.session.plan")


def _session(common: SessionSpec) -> Iterator[FieldViolation]:
    filled = SessionSpec()
    filled.CopyFrom(common)
    for name in _NOT_COMMON:
        if getattr(common, name):
            yield FieldViolation(f"spec.session.{name}", "is not for studies")
        filled.ClearField(name)
    filled.scenario_digest = _ANY_DIGEST
    try:
        validate(filled)
    except CallRefused as refused:
        for one in refused.violations:
            yield FieldViolation(f"spec.session.{one.field}", one.description)
