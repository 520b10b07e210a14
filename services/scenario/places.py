"""Finds where in an XML file the values stand that a template binds.

    file ─► tree of elements, each with the offset of its `<` ─► XPath ─► spans of bytes, one per element

Run on what strangers sent through `limited.find_places_limited`. A file by content has its places once and for all:
they are kept with the template, and filling it in is nothing but putting other bytes into them (`bindings`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element  # the tree's form; the parser is defusedxml's

from scenario.elements import named_files, needs_checking
from scenario.limits import MAX_BOUND_FILE_BYTES, MAX_PLACES, MAX_PLACES_PER_TARGET
from scenario.model import Finding, ScenarioRejected
from scenario.rewrite import attribute_span
from scenario.xml_stream import XmlReader, open_inflated, read_xml

# A longer value is never equal to one that is put in its place, so it need not be known.
MAX_KNOWN_CHARS: Final = 500
_ELEMENT_NAME: Final = re.compile(rb"<[^\s/>]+")
# What ElementTree raises for an XPath that it does not understand.
_NO_PATH: Final = (SyntaxError, KeyError, IndexError, ValueError, TypeError, StopIteration, RuntimeError)


@dataclass(frozen=True, slots=True)
class Target:
    """An attribute of elements: `select` is XPath as `xml.etree.ElementTree` has it, from below the root."""

    select: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Place:
    """The bytes `start` to `end` of the (inflated) file: an attribute's value, without its quotes."""

    start: int
    end: int
    current: str | None
    """What stands there; empty when that is longer than MAX_KNOWN_CHARS; None: the attribute is to be made."""
    needs_inspection: bool
    """Whether the file has to be held against the others when something else stands there."""


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why a target cannot be bound: `part` is `select` or `attribute`."""

    part: str
    message: str


Found = tuple[Place, ...] | NoPlace


def find_places(path: Path, name: str, targets: Sequence[Target]) -> list[Found]:
    """The places of each target in `path`, called `name` in findings, in the file's order.

    Raises ScenarioRejected for a file that cannot be read.
    """
    tree = _Tree(path, name)
    with open_inflated(path) as source:
        content = source.read(MAX_BOUND_FILE_BYTES + 1)
    if len(content) > MAX_BOUND_FILE_BYTES:
        raise ScenarioRejected(
            Finding("xml-too-large", f"values can be bound in files of up to {MAX_BOUND_FILE_BYTES} bytes", name)
        )
    left = MAX_PLACES
    found: list[Found] = []
    for target in targets:
        places = _find(tree, content, target, name)
        left -= 0 if isinstance(places, NoPlace) else len(places)
        found.append(places if left >= 0 else NoPlace("select", f"more than {MAX_PLACES} places in one file"))
    return found


class _Tree:
    """The elements of a file without their text."""

    def __init__(self, path: Path, name: str) -> None:
        self.starts: dict[Element, int] = {}
        self._open: list[Element] = []
        # `findall` looks below the element it is called on.
        self.root = Element("")
        read_xml(path, name, self._on_start, self._on_end)

    def _on_start(self, tag: str, attributes: Mapping[str, str], reader: XmlReader) -> None:
        element = Element(tag, dict(attributes))
        if self._open:
            self._open[-1].append(element)
        else:
            self.root = element
        self._open.append(element)
        self.starts[element] = reader.byte_index

    def _on_end(self) -> None:
        self._open.pop()


def _find(tree: _Tree, content: bytes, target: Target, name: str) -> Found:
    elements: dict[Element, None] = {}
    try:
        for element in tree.root.iterfind(target.select):
            elements[element] = None
            if len(elements) > MAX_PLACES_PER_TARGET:
                return NoPlace("select", f"selects more than {MAX_PLACES_PER_TARGET} elements")
    except _NO_PATH as error:
        why = f": {error.msg[:200]}" if isinstance(error, SyntaxError) else ""
        return NoPlace("select", f"is no XPath as ElementTree has it{why}")
    if not elements:
        return NoPlace("select", f"selects nothing in {name}")
    places: list[Place] = []
    for element in sorted(elements, key=tree.starts.__getitem__):
        if wrong := _wrong(element, target.attribute):
            return NoPlace("attribute", wrong)
        places.append(_place(element, tree.starts[element], content, target.attribute, name))
    return tuple(places)


def _wrong(element: Element, attribute: str) -> str | None:
    """Why this attribute cannot be bound; None: it can."""
    if ":" in attribute or attribute.lower().startswith("xml"):
        return "has a prefix, or belongs to XML itself"
    if element.tag == "param" and attribute == "key":
        return "of <param> says what its value means"
    if any(named.attribute == attribute for named in named_files(element.tag, {**element.attrib, attribute: ""})):
        return f"of <{element.tag[:80]}> names a file"
    return None


def _place(element: Element, at: int, content: bytes, attribute: str, name: str) -> Place:
    checked = needs_checking(element.tag, attribute)
    current = element.get(attribute)
    if current is None:
        opening = _ELEMENT_NAME.match(content, at)
        assert opening is not None
        return Place(opening.end(), opening.end(), None, checked)
    span = attribute_span(content, at, attribute)
    if span is None:
        raise ScenarioRejected(Finding("xml-malformed", f"the attribute {attribute} is not where it was read", name))
    return Place(*span, current if len(current) <= MAX_KNOWN_CHARS else "", checked)
