"""YAML (or JSON) files whose values know where they stand.

    root = read_placed(Path("study.yaml"))
    seeds = root.mapping("seeds", "name")["seeds"]      # notes keys that are none of these, with the likely one
    seeds.wrong("must hold at least one seed")          # notes a finding; `root.document.check()` raises them all
    root.place("variants[3].parameters.cycle_s")        # "study.yaml:12:5"

Plain values follow YAML 1.2's core schema, so that `on`, `1:30` and `2020-01-01` are texts. Read from the parser's
events, one by one: no tag makes an object, aliases are bounded by what they amount to, nesting by a number.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import yaml

from milepost.exceptions import InputFileError, Violation
from milepost.yaml_values import Document, Placed, Segment, Value, written

__all__ = ["Document", "Placed", "placed", "read_placed"]

# Largest file, bytes; what is written for a thousand variants by hand or by a program is less.
MAX_BYTES = 8 * 1024 * 1024
# Values, aliases counted as what they stand for.
MAX_VALUES = 500_000
# Collections within each other.
MAX_DEPTH = 50

# Digits of a whole number: Python makes no number of thousands of them.
_MAX_DIGITS = 300

Scalar = bool | int | float | str | None

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_WORDS: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null", "seq", "map")}


def read_placed(path: Path) -> Placed:
    """The value a file holds. Raises InputFileError: no such file, too large, no YAML, a key twice, a tag, too deep."""
    name = path.name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputFileError(name, [Violation(name, f"is larger than {MAX_BYTES // 1024**2} MiB")])
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputFileError(str(path), [Violation(str(path), error.strerror or str(error))]) from None
    except UnicodeDecodeError as error:
        raise InputFileError(name, [Violation(name, f"is no UTF-8 text: byte {error.start}")]) from None
    if path.suffix == ".json":
        # JSON may be indented with tabs; within its texts there is none.
        text = text.replace("\t", " ")
    return placed(text, name)


def placed(text: str, name: str) -> Placed:
    """The value a text holds; `name` is what its places are told of. Raises InputFileError."""
    document = Document(name)
    try:
        return _Reader(document, text).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        lines = text.splitlines()
        at_tab = line < len(lines) and lines[line][column : column + 1] == "\t"
        problem = "a tab; indent with spaces" if at_tab else f"{error.problem or error.context}"
        document.note(line + 1, column + 1, "", problem)
    except yaml.YAMLError as error:
        document.note(1, 1, "", f"{error}".splitlines()[0])
    document.check()
    raise AssertionError("a document with findings is refused")


class _Reader:
    """Makes values of the parser's events."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str | None, list[yaml.Event]] = {}
        self._left = MAX_VALUES

    def read(self) -> Placed:
        first = next(event for event in self._events if not isinstance(event, yaml.StreamStartEvent))
        if isinstance(first, yaml.StreamEndEvent):
            self._refuse(first, "holds nothing")
        root = self._value(next(self._events), self._events, (), 0)
        next(self._events)  # the document's end
        if not isinstance(more := next(self._events), yaml.StreamEndEvent):
            self._refuse(more, "a second document; only one is read")
        self._document.check()
        return root

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: tuple[Segment, ...], depth: int) -> Placed:
        self._left -= 1
        if self._left < 0:
            self._refuse(event, f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested over {MAX_DEPTH} deep")
        match event:
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    self._refuse(event, f"*{event.anchor} was not named before")
                kept = iter(self._anchors[event.anchor])
                value = self._value(next(kept), kept, path, depth)
                value.line, value.column = _place(event)
                return value
            case yaml.ScalarEvent() | yaml.CollectionStartEvent() if event.anchor:
                anchor, event.anchor = event.anchor, None
                named = list(_whole(event, events))
                value = self._value(event, iter(named[1:]), path, depth)
                # Named once it is complete: a value within itself has no end.
                self._anchors[anchor] = named
                return value
            case yaml.ScalarEvent():
                scalar = self._at(event, self._scalar(event), path)
                scalar.as_written = event.value
                return scalar
            case yaml.SequenceStartEvent():
                self._tag(event, "seq")
                items: list[Placed] = []
                while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                    items.append(self._value(inner, events, (*path, len(items)), depth + 1))
                return self._at(event, items, path)
            case yaml.MappingStartEvent():
                self._tag(event, "map")
                return self._at(event, self._mapping(events, path, depth), path)
        raise AssertionError(f"no value begins with {event}")

    def _mapping(self, events: Iterator[yaml.Event], path: tuple[Segment, ...], depth: int) -> dict[str, Placed]:
        entries: dict[str, Placed] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key must be a word")
            key: str = event.value
            inner = self._value(next(events), events, (*path, key), depth + 1)
            inner.key_place = _place(event)
            if isinstance(inner.value, dict | list) or inner.value is None:
                inner.line, inner.column = inner.key_place
            if key in entries:
                said = written((*path, key))
                self._document.note(*inner.key_place, said, f"stands here again, first in line {entries[key].line}")
            entries.setdefault(key, inner)
        return entries

    def _at(self, event: yaml.Event, value: Value, path: tuple[Segment, ...]) -> Placed:
        return Placed(self._document, value, path, *_place(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text: str = event.value
        if event.tag == "!" or not (event.implicit[0] or event.tag):
            return text
        if event.tag:
            self._tag(event, "str")
            return text
        return _core(text)

    def _tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, kind: str) -> None:
        if event.tag and _TAGS.get(event.tag) != kind:
            self._refuse(event, f"the tag {event.tag} is not read")

    def _refuse(self, event: yaml.Event, message: str) -> NoReturn:
        self._document.note(*_place(event), "", message)
        self._document.check()
        raise AssertionError("a document with findings is refused")


def _core(text: str) -> Scalar:
    """A plain scalar by YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if found := _INFINITE.fullmatch(text):
        return float(f"{found[1]}inf")
    return math.nan if text in {".nan", ".NaN", ".NAN"} else text


def _whole(event: yaml.Event, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """The events of one value, which begins with `event`."""
    open_ = 0
    while True:
        yield event
        open_ += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if open_ == 0:
            return
        event = next(events)


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
