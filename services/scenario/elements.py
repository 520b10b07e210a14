"""Which attributes of SUMO's XML name files or edges: what its schemas say and SUMO 1.28 was seen to do.

An attribute that could name a file and is not known to be read is taken for an output: the safe side.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

_FILE_ATTRIBUTES: Final = ("file", "dest", "output", "edgesFile")
_XML_INPUTS: Final = frozenset({("variableSpeedSign", "file"), ("calibrator", "file")})
# Schemas list it, SUMO never opens it.
_UNUSED: Final = frozenset({("rerouter", "file")})
_EDGE_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "route": ("edges",),
    "trip": ("from", "to", "via"),
    "flow": ("from", "to", "via"),
    "walk": ("edges", "from", "to"),
    "personTrip": ("from", "to"),
    "ride": ("from", "to"),
    "transport": ("from", "to"),
    "tranship": ("edges", "from", "to"),
}
# By these a network has an edge that others may name.
_EDGES_OWN: Final = frozenset({("edge", "id"), ("edge", "function")})
_EMISSION_CLASS: Final = "emissionClass"


class Purpose(Enum):
    """What SUMO does with a file, and against what it resolves a relative name."""

    OUTPUT = "written; relative to the file it is named in"
    OUTPUT_FROM_CWD = "written; relative to the working directory"
    XML_INPUT = "read; relative to the file it is named in"
    TEXT_INPUT_FROM_CWD = "read; relative to the working directory"


OUTPUTS: Final = frozenset({Purpose.OUTPUT, Purpose.OUTPUT_FROM_CWD})


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that an element names in one of its attributes."""

    attribute: str
    value: str
    purpose: Purpose


def named_files(tag: str, attributes: Mapping[str, str]) -> tuple[NamedFile, ...]:
    """The files an element names; nearly always none."""
    if tag == "param":
        key = attributes.get("key", "")
        if key == "file" or key.endswith(".file"):  # detectors of signals; devices, for example device.ssm.file
            return (NamedFile("value", attributes.get("value", ""), Purpose.OUTPUT),)
        return ()
    return tuple(
        NamedFile(attribute, attributes[attribute], _purpose(tag, attribute))
        for attribute in _FILE_ATTRIBUTES
        if attribute in attributes and (tag, attribute) not in _UNUSED
    )


def named_edges(tag: str, attributes: Mapping[str, str]) -> list[str]:
    """The edges an element cannot do without."""
    return [edge for name in _EDGE_ATTRIBUTES.get(tag, ()) for edge in attributes.get(name, "").split()]


def needs_checking(tag: str, attribute: str) -> bool:
    """Whether an attribute has to be held against the rest of its scenario when it changes."""
    return attribute in _EDGE_ATTRIBUTES.get(tag, ()) or (tag, attribute) in _EDGES_OWN or attribute == _EMISSION_CLASS


def escaping_model(attributes: Mapping[str, str]) -> str | None:
    """An emission class that would have SUMO read outside its own emission tables; None when there is none."""
    model = attributes.get(_EMISSION_CLASS, "")
    return model if ".." in model else None


def resolve(value: str, *, folder: str) -> str | None:
    """The path in the scenario that `value` means in `folder`; None when it leaves the scenario."""
    if value.startswith(("/", "\\")) or ":" in value:
        return None
    path = posixpath.normpath(posixpath.join(folder, value))
    return None if path == ".." or path.startswith("../") else path


def input_paths(named: NamedFile, *, in_file: str) -> tuple[str, ...]:
    """Where in the scenario an input may lie, the likeliest first; empty when it leaves the scenario.

    What SUMO looks for in its working directory lies, for whoever wrote the scenario, beside the file that names it
    or in the scenario's top folder.
    """
    folders = [posixpath.dirname(in_file)]
    if named.purpose is Purpose.TEXT_INPUT_FROM_CWD:
        folders.append("")
    paths = [resolve(named.value, folder=folder) for folder in folders]
    return tuple(path for path in paths if path is not None)


def _purpose(tag: str, attribute: str) -> Purpose:
    if attribute == "edgesFile":
        return Purpose.TEXT_INPUT_FROM_CWD
    if (tag, attribute) in _XML_INPUTS:
        return Purpose.XML_INPUT
    return Purpose.OUTPUT_FROM_CWD if (tag, attribute) == ("calibrator", "output") else Purpose.OUTPUT
