"""A study as a file that runs it again: what `read_study` reads, with digests and versions for what was local."""

from collections.abc import Sequence
from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import PlannedIntervention
from milepost.study.v1.study_pb2 import Design, Direction, Objective, Patch, Study, StudyBase, StudySpec, Variant


def written_study(study: Study) -> str:
    """The file of a study (FULL view). Runs everything again, on any server that has its scenario or template."""
    spec = study.spec
    form: dict[str, Any] = {"name": study.display_name}
    if study.labels:
        form["labels"] = dict(sorted(study.labels.items()))
    form["base"] = _base(spec.base)
    if session := _plain(spec.session):
        form["session"] = session
    form["seeds"] = _seeds(spec)
    form["objective"] = _objective(spec.objective)
    if design := _design(spec.design):
        form["design"] = design
    if budget := _plain(spec.budget):
        form["budget"] = budget
    form["variants"] = [_variant(variant) for variant in spec.variants]
    return yaml.dump(form, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes equal parts twice: a name for them says nothing to a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _base(base: StudyBase) -> dict[str, Any]:
    match base.WhichOneof("from"):
        case "template":
            return {"template": _plain(base.template)}
        case "session":
            place = base.session
            by_id = place.WhichOneof("at") == "checkpoint_id"
            at = {"checkpoint": place.checkpoint_id} if by_id else {"at_s": _short(place.sim_time_s)}
            return {"session": {"id": place.session_id, **at}}
        case _:
            return {"scenario": base.scenario_digest}


def _seeds(spec: StudySpec) -> list[int | str] | str:
    """Seeds in their order, runs of them as ranges."""
    parts: list[tuple[int, int]] = []
    for seed in spec.seeds:
        if parts and parts[-1][1] == seed - 1:
            parts[-1] = (parts[-1][0], seed)
        else:
            parts.append((seed, seed))
    said: list[int | str] = [first if first == last else f"{first}-{last}" for first, last in parts]
    return said[0] if len(said) == 1 and isinstance(said[0], str) else said


def _objective(objective: Objective) -> dict[str, Any]:
    maximise = objective.direction == Direction.DIRECTION_MAXIMISE
    form: dict[str, Any] = {"maximise" if maximise else "minimise": objective.expression}
    if objective.constraints:
        form["subject_to"] = list(objective.constraints)
    return {**form, **_plain(objective, without=("expression", "direction", "constraints"))}


def _design(design: Design) -> dict[str, Any]:
    form: dict[str, Any] = _plain(
        design, without=("fixed", "no_shared_warm_up", "no_cache", "verify_cached_share", "map_seeds")
    )
    if design.no_shared_warm_up:
        form["shared_warm_up"] = False
    if design.no_cache:
        form["cache"] = False
    if design.verify_cached_share:
        form["verify_cached"] = _short(design.verify_cached_share)
    if design.HasField("map_seeds"):
        form["map_seeds"] = design.map_seeds
    return form


def _variant(variant: Variant) -> dict[str, Any]:
    form: dict[str, Any] = {"name": variant.name}
    if variant.parent:
        form["parent"] = variant.parent
    form.update(_patch(variant.patch))
    if variant.comment:
        form["comment"] = variant.comment
    return form


def _patch(patch: Patch) -> dict[str, Any]:
    form: dict[str, Any] = _plain(patch, without=("files",))
    if patch.files:
        form["files"] = {file.path: {"sha256": file.sha256, "size_bytes": file.size_bytes} for file in patch.files}
    return form


def _plain(message: Message, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """What is set in a message, by the contracts' names."""
    return {field.name: _field(field, value) for field, value in message.ListFields() if field.name not in without}


def _field(field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        kind = field.message_type.fields_by_name["value"]
        return {key: _one(kind, value[key]) for key in sorted(value)}
    if not field.is_repeated:
        return _one(field, value)
    if field.message_type is not None and field.message_type.full_name == SumoOption.DESCRIPTOR.full_name:
        options = {option.name: _unquoted(option.value) for option in value}
        return options if len(options) == len(value) else [_plain(option) for option in value]
    return [_one(field, one) for one in value]


def _one(field: Any, value: Any) -> Any:
    match value:
        case Value():
            return value.string_value if value.WhichOneof("kind") == "string_value" else _short(value.number_value)
        case PlannedIntervention():
            return {"at_s": _short(value.at_time_s), **_plain(value.intervention)}
        case Message():
            return _plain(value)
        case float():
            return _short(value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return field.enum_type.values_by_number[value].name.removeprefix(prefix).lower()
    return value


def _unquoted(text: str) -> float | int | str:
    """A text that is a number written as usual needs no quotes."""
    try:
        number = _short(float(text))
    except ValueError:
        return text
    return number if f"{number}" == text else text


def _short(number: float) -> float | int:
    """A whole number without its point."""
    return int(number) if abs(number) < 1e15 and number.is_integer() else number
