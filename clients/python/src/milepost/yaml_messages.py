"""Messages of the contracts, written in YAML: their own field names, enums by their words, places kept.

Two messages have a friendlier form: options are a mapping (`time-to-teleport: 300`), and a planned intervention
stands beside its time (`{at_s: 600, close: {place: {edge_ids: [e1]}}}`). What a server says of a field's path is found
again in the file with `Places`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from milepost.exceptions import Violation
from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import PlannedIntervention
from milepost.yaml_values import Placed, Segment, near_miss, segments_of, written

MessageT = TypeVar("MessageT", bound=Message)

_FLOATS = {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}


class Places:
    """Where the fields of a request stand in the file it was made of."""

    def __init__(self, root: Placed) -> None:
        self._root = root
        self._known: dict[tuple[Segment, ...], Placed] = {}

    def put(self, path: str, value: Placed) -> None:
        """A field of the request is made of this value; what is below both by the same names need not be said."""
        self._known[segments_of(path)] = value

    def find(self, path: str) -> tuple[Placed, str]:
        """The value nearest to a field of the request, and the field's path in the words of the file."""
        segments = segments_of(path)
        for length in range(len(segments), -1, -1):
            known = self._known.get(segments[:length])
            if known is not None:
                rest = segments[length:]
                nearest = known.nearest(rest)
                return nearest, written((*nearest.segments, *rest[len(nearest.segments) - len(known.segments) :]))
        return self._root, path

    def violation(self, path: str, description: str) -> Violation:
        """What is wrong with a field of the request, said of its place in the file."""
        nearest, said = self.find(path)
        return Violation(nearest.place(), f"{said}: {description}" if said else description)


def message_of(value: Placed, message: MessageT, places: Places, path: str, *, without: Sequence[str] = ()) -> MessageT:
    """`message`, filled from a mapping; what is wrong is noted. `path` is the field's in the request."""
    fields: dict[str, Any] = {field.name: field for field in message.DESCRIPTOR.fields if field.name not in without}
    given = value.mapping(*fields)
    places.put(path, value)
    for oneof in message.DESCRIPTOR.oneofs:
        several = [field.name for field in oneof.fields if field.name in given]
        if len(several) > 1:
            value.wrong(f"only one of {' and '.join(several)} can be given")
    for name, inner in given.items():
        if inner.value is not None:
            _set(message, fields[name], inner, places, f"{path}.{name}")
    return message


def options_of(value: Placed, places: Places, path: str) -> list[SumoOption]:
    """Options of a mapping; a list of `{name, value}` is taken as well."""
    if isinstance(value.value, list):
        return [message_of(one, SumoOption(), places, f"{path}[{index}]") for index, one in enumerate(value.items())]
    options = []
    for index, (name, inner) in enumerate(value.entries().items()):
        places.put(f"{path}[{index}]", inner)
        places.put(f"{path}[{index}].name", inner)
        places.put(f"{path}[{index}].value", inner)
        options.append(SumoOption(name=name, value=inner.text()))
    return options


def planned_of(value: Placed, places: Places, path: str) -> list[PlannedIntervention]:
    """Planned interventions of a list."""
    return [_planned(one, places, f"{path}[{index}]") for index, one in enumerate(value.items())]


def value_of(value: Placed) -> Value:
    """A number or a text; notes anything else."""
    scalar = value.scalar()
    return Value(string_value=scalar) if isinstance(scalar, str) else Value(number_value=scalar)


def _planned(value: Placed, places: Places, path: str) -> PlannedIntervention:
    kinds = [field.name for field in Intervention.DESCRIPTOR.fields]
    given = value.mapping("at_s", *kinds, required=("at_s",))
    places.put(path, value)
    places.put(f"{path}.intervention", value)
    planned = PlannedIntervention()
    if "at_s" in given:
        places.put(f"{path}.at_time_s", given["at_s"])
        planned.at_time_s = given["at_s"].number()
    changes = [kind for kind in kinds if kind in given]
    if len(changes) != 1 and isinstance(value.value, dict):
        value.wrong(f"must say one change, says {' and '.join(changes)}" if changes else "says no change")
    for kind in changes[:1]:
        change = getattr(planned.intervention, kind)
        change.SetInParent()
        message_of(given[kind], change, places, f"{path}.intervention.{kind}")
    return planned


_SPECIAL: dict[str, Callable[[Placed, Places, str], Sequence[Message]]] = {
    SumoOption.DESCRIPTOR.full_name: options_of,
    PlannedIntervention.DESCRIPTOR.full_name: planned_of,
}


def _set(message: Message, field: FieldDescriptor, value: Placed, places: Places, path: str) -> None:
    if field.is_repeated:
        if field.message_type is not None and field.message_type.full_name in _SPECIAL:
            getattr(message, field.name).extend(_SPECIAL[field.message_type.full_name](value, places, path))
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            _set_map(getattr(message, field.name), field.message_type.fields_by_name["value"], value)
        else:
            _set_list(getattr(message, field.name), field, value, places, path)
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        if isinstance(inner, Value):
            inner.CopyFrom(value_of(value))
        else:
            message_of(value, inner, places, path)
    else:
        try:
            setattr(message, field.name, _scalar(field, value))
        except ValueError:
            value.wrong(f"{value.as_written} is out of range")


def _set_list(items: Any, field: FieldDescriptor, value: Placed, places: Places, path: str) -> None:
    for index, one in enumerate(value.items()):
        if field.message_type is not None:
            message_of(one, items.add(), places, f"{path}[{index}]")
        else:
            try:
                items.append(_scalar(field, one))
            except ValueError:
                one.wrong(f"{one.as_written} is out of range")


def _set_map(entries: Any, kind: FieldDescriptor, value: Placed) -> None:
    """Maps of the contracts are from texts to scalars or to `google.protobuf.Value`."""
    for key, one in value.entries().items():
        if kind.message_type is not None:
            entries[key].CopyFrom(value_of(one))
        else:
            entries[key] = _scalar(kind, one)


def _scalar(field: FieldDescriptor, value: Placed) -> bool | int | float | str:
    if field.enum_type is not None:
        return _enum(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return value.flag()
    if field.type == FieldDescriptor.TYPE_STRING:
        return value.text()
    return value.number() if field.type in _FLOATS else value.whole()


def _enum(kind: EnumDescriptor, value: Placed) -> int:
    """By its name, or by the word that is left of it without the enum's: `warm_up` is PHASE_KIND_WARM_UP."""
    words = {number.name.lower(): number.number for number in kind.values}
    prefix = next(name for name in words if words[name] == 0).removesuffix("unspecified")
    short = {name.removeprefix(prefix): number for name, number in words.items() if number}
    text = value.text()
    found = {**words, **short}.get(text.lower())
    if found is None:
        value.wrong(f"unknown word {text!r}{near_miss(text, tuple(short))}")
    return found or 0
