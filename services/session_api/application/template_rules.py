"""Templates as the domain has them, and values as they come."""

from collections.abc import Iterable, Mapping

from google.protobuf.struct_pb2 import Value as ValueMessage

from milepost.scenario.v1.template_pb2 import Binding, Parameter
from session_api.domain import template as domain
from session_api.domain.template import InvalidRules, Rules, Value, Wrong


def rules_of(parameters: Iterable[Parameter], bindings: Iterable[Binding]) -> Rules:
    """The rules of a template. Raises InvalidRules, its fields being paths in CreateTemplateRequest."""
    wrong: list[Wrong] = []
    found: list[domain.Parameter] = []
    for index, parameter in enumerate(parameters):
        default = value_of(parameter.default)
        if default is None or isinstance(default, bool):
            wrong.append(Wrong(f"parameters[{index}].default", "must be a number or a text"))
            continue
        found.append(
            domain.Parameter(
                parameter.name,
                default,
                minimum=parameter.minimum if parameter.HasField("minimum") else None,
                maximum=parameter.maximum if parameter.HasField("maximum") else None,
                whole=parameter.whole,
                choices=tuple(parameter.choices),
            )
        )
    if wrong:
        raise InvalidRules(wrong)
    return Rules(tuple(found), tuple(binding.value for binding in bindings))


def value_of(message: ValueMessage) -> Value | None:
    """A number, text or truth value; None for anything else."""
    match message.WhichOneof("kind"):
        case "number_value":
            return message.number_value
        case "string_value":
            return message.string_value
        case "bool_value":
            return message.bool_value
        case _:
            return None


def values_of(messages: Mapping[str, ValueMessage]) -> dict[str, Value] | list[Wrong]:
    """Values by their names; those that can be none of a parameter are wrong."""
    values = {name: value_of(messages[name]) for name in sorted(messages)}
    wrong = [Wrong(name, "must be a number or a text") for name, value in values.items() if value is None]
    return wrong or {name: value for name, value in values.items() if value is not None}
