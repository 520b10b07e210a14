"""A template as it is written in YAML, and as the part of a study's file that makes one.

name: cologne-signal
scenario: cologne                       # a path, from where the file is, or a digest
parameters:
  cycle_s: {default: 90, min: 60, max: 180, whole: true, description: "length of the cycle, s"}
  offset_s: 0                           # a bare value is the default
bindings:
  - {file: net.xml, select: "tlLogic[@id='A']/phase[1]", attribute: duration, value: "(cycle_s - 10) / 2"}
  - {option: time-to-teleport, value: "3 * cycle_s"}
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from milepost.scenario.v1.template_pb2 import Binding, Parameter
from milepost.scenario.v1.template_service_pb2 import CreateTemplateRequest
from milepost.yaml_messages import Places, value_of
from milepost.yaml_places import read_placed
from milepost.yaml_values import Placed

_DIGEST = re.compile(r"[0-9a-f]{64}")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(slots=True)
class TemplateFile:
    """A template as it was written: `request` is complete but for the digest of a local `scenario`."""

    request: CreateTemplateRequest
    places: Places
    scenario: Path | None = None


def read_template(path: Path, *, scenario: Path | None = None) -> TemplateFile:
    """Read a template's file; `scenario` is taken instead of the one it names. Raises InputFileError."""
    root = read_placed(path)
    template = TemplateFile(CreateTemplateRequest(), Places(root), scenario)
    given = root.mapping(
        *("name", "description", "scenario", "parameters", "bindings"),
        required=("name", "parameters", "bindings", *(() if scenario else ("scenario",))),
    )
    request, places = template.request, template.places
    for name in ("name", "description"):
        if name in given:
            setattr(request, name, given[name].text())
            places.put(name, given[name])
    if "scenario" in given:
        places.put("scenario_digest", given["scenario"])
    if "scenario" in given and scenario is None:
        match scenario_of(given["scenario"], path.parent):
            case Path() as local:
                template.scenario = local
            case digest:
                request.scenario_digest = digest
    read_rules(given, request, places)
    root.document.check()
    return template


def read_rules(given: dict[str, Placed], request: CreateTemplateRequest, places: Places) -> None:
    """`parameters` and `bindings`, as far as they are given."""
    for name in ("parameters", "bindings"):
        if name in given:
            places.put(name, given[name])
    for key, value in given["parameters"].entries().items() if "parameters" in given else ():
        _read_parameter(request.parameters.add(name=key), value, places, len(request.parameters) - 1)
    for value in given["bindings"].items() if "bindings" in given else ():
        _read_binding(request.bindings.add(), value, places, len(request.bindings) - 1)


def scenario_of(value: Placed, folder: Path) -> Path | str:
    """The digest of a stored scenario, or the path of a local one; notes one that is not there."""
    text = value.text()
    if _DIGEST.fullmatch(text):
        return text
    for variable in _VARIABLE.finditer(text):
        if (variable[1] or variable[2]) not in os.environ:
            value.wrong(f"the environment has no {variable[1] or variable[2]}")
            return ""
    path = folder / Path(_VARIABLE.sub(lambda it: os.environ[it[1] or it[2]], text)).expanduser()
    if not path.exists():
        value.wrong(f"{path}: no such file or directory")
    return path


def _read_parameter(parameter: Parameter, value: Placed, places: Places, index: int) -> None:
    path = f"parameters[{index}]"
    places.put(path, value)
    if not isinstance(value.value, dict):
        # A bare value is the default.
        parameter.default.CopyFrom(value_of(value))
        return
    given = value.mapping("default", "min", "max", "whole", "choices", "description", required=("default",))
    if "default" in given:
        parameter.default.CopyFrom(value_of(given["default"]))
    for name, field_name in (("min", "minimum"), ("max", "maximum")):
        if name in given:
            places.put(f"{path}.{field_name}", given[name])
            setattr(parameter, field_name, given[name].number())
    if "whole" in given:
        parameter.whole = given["whole"].flag()
    if "description" in given:
        parameter.description = given["description"].text()
    parameter.choices.extend(one.text() for one in (given["choices"].items() if "choices" in given else ()))


def _read_binding(binding: Binding, value: Placed, places: Places, index: int) -> None:
    path = f"bindings[{index}]"
    places.put(path, value)
    places.put(f"{path}.attribute", value)
    given = value.mapping("file", "select", "attribute", "option", "value", required=("value",))
    attribute = [name for name in ("file", "select", "attribute") if name in given]
    if ("option" in given) == bool(attribute) or (attribute and len(attribute) < 3):
        value.wrong("must say what follows: file, select and attribute, or option")
    if "option" in given:
        binding.option = given["option"].text()
    for name in attribute:
        places.put(f"{path}.attribute.{name}", given[name])
        setattr(binding.attribute, name, given[name].text())
    if "value" in given:
        binding.value = given["value"].text()
