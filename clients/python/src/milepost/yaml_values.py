"""Values of a file that know where they stand, and what is wrong with them. Pure.

Readers ask each value for what it should be; what it is not is noted with its place, and the reader goes on with an
empty value, so that all findings are told at once.
"""

import difflib
import math
import re
from collections.abc import Sequence
from typing import TypeAlias

from milepost.exceptions import InputFileError, Violation

# Findings that are kept: nobody reads more at once.
MAX_FINDINGS = 50
# Words that are listed when none is close to what was written.
_MAX_KNOWN = 12

Plain: TypeAlias = "bool | int | float | str | dict[str, Plain] | list[Plain] | None"
Segment: TypeAlias = str | int
Value: TypeAlias = "bool | int | float | str | list[Placed] | dict[str, Placed] | None"

_SEGMENT = re.compile(r"""\[(?P<index>\d+)\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]|\.?(?P<name>[^.\[\]]+)""")


class Document:
    """A file that was read, and what is wrong with it so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._findings: list[Violation] = []

    def note(self, line: int, column: int, path: str, message: str) -> None:
        """Note what is wrong with a place; lines and columns count from 1."""
        finding = Violation(f"{self.name}:{line}:{column}", f"{path}: {message}" if path else message)
        if finding not in self._findings:
            self._findings.append(finding)

    def check(self) -> None:
        """Raises InputFileError with all that was noted, in the order of the file."""
        if self._findings:
            found = sorted(self._findings, key=lambda one: [int(part) for part in one.field.rsplit(":", 2)[1:]])
            raise InputFileError(self.name, found[:MAX_FINDINGS])


class Placed:
    """A value with its place: a scalar, a list of Placed, or Placed by key. Collections stand where their key does."""

    def __init__(self, document: Document, value: "Value", path: tuple[Segment, ...], line: int, column: int) -> None:
        self.document = document
        self.value = value
        self.segments = path
        self.line = line
        self.column = column
        # A scalar's characters in the file.
        self.as_written = ""
        # Where its key stands; of an item, where it begins.
        self.key_place = (line, column)

    @property
    def path(self) -> str:
        """Its path in the file, for example `variants[3].name`; empty: the file."""
        return written(self.segments)

    def wrong(self, message: str) -> None:
        """Note that this value is wrong, and go on."""
        self.document.note(self.line, self.column, self.path, message)

    def place(self, path: str = "") -> str:
        """`file:line:column` of a value below this one, or of the nearest one above it that is there."""
        nearest = self.nearest(segments_of(path))
        return f"{self.document.name}:{nearest.line}:{nearest.column}"

    def nearest(self, segments: tuple[Segment, ...]) -> "Placed":
        """The value at a path below this one, or the nearest one above it that is there."""
        here = self
        for segment in segments:
            inner = here.value
            if isinstance(inner, dict) and str(segment) in inner:
                here = inner[str(segment)]
            elif isinstance(inner, list) and isinstance(segment, int) and segment < len(inner):
                here = inner[segment]
            else:
                break
        return here

    def plain(self) -> Plain:
        """The value without places."""
        match self.value:
            case dict():
                return {key: inner.plain() for key, inner in self.value.items()}
            case list():
                return [inner.plain() for inner in self.value]
            case _:
                return self.value

    def mapping(self, *known: str, required: tuple[str, ...] = ()) -> "dict[str, Placed]":
        """The values by key, of those that are known; notes others, those that are missing, and what is no mapping."""
        entries = self.entries()
        for key, inner in entries.items():
            if key not in known:
                self.document.note(*inner.key_place, inner.path, f"unknown key{near_miss(key, known)}")
        for key in required:
            if key not in entries and isinstance(self.value, dict):
                self.wrong(f"{key} is missing")
        return {key: inner for key, inner in entries.items() if key in known}

    def entries(self) -> "dict[str, Placed]":
        """The values by key; notes what is no mapping."""
        if isinstance(self.value, dict):
            return self.value
        self.wrong(f"must be a mapping (key: value), is {described(self.value)}")
        return {}

    def items(self) -> "list[Placed]":
        """The items of a list; notes what is none."""
        if isinstance(self.value, list):
            return self.value
        self.wrong(f"must be a list, is {described(self.value)}")
        return []

    def text(self) -> str:
        """A text; what else is no collection is taken as it is written, lest ids need quotes. Notes anything else."""
        if self.value is None or isinstance(self.value, list | dict):
            self.wrong(f"must be a text, is {described(self.value)}")
            return ""
        return self.value if isinstance(self.value, str) else self.as_written

    def number(self) -> float:
        """A finite number; notes anything else."""
        if isinstance(self.value, int | float) and not isinstance(self.value, bool) and math.isfinite(self.value):
            return float(self.value)
        self.wrong(f"must be a number, is {described(self.value)}")
        return 0.0

    def whole(self) -> int:
        """A whole number; notes anything else."""
        number = self.value
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < 2**63 and number % 1 == 0:
            return int(number)
        self.wrong(f"must be a whole number, is {described(self.value)}")
        return 0

    def flag(self) -> bool:
        """True or false; notes anything else."""
        if isinstance(self.value, bool):
            return self.value
        self.wrong(f"must be true or false, is {described(self.value)}")
        return False

    def scalar(self) -> float | str:
        """A number or a text; notes anything else."""
        return self.value if isinstance(self.value, str) else self.number()


def segments_of(path: str) -> tuple[Segment, ...]:
    """`variants[3].options["a.b"]` as ("variants", 3, "options", "a.b")."""
    found: list[Segment] = []
    for part in _SEGMENT.finditer(path):
        if part["index"]:
            found.append(int(part["index"]))
        elif part["quoted"]:
            found.append(re.sub(r"\\(.)", r"\1", part["quoted"][1:-1]))
        else:
            found.append(part["name"])
    return tuple(found)


def written(segments: tuple[Segment, ...]) -> str:
    """Segments as a path."""
    parts: list[str] = []
    for segment in segments:
        if isinstance(segment, int):
            parts.append(f"[{segment}]")
        elif re.search(r"[.\[\]\"]", segment):
            parts.append('["' + re.sub(r'(["\\])', r"\\\1", segment) + '"]')
        else:
            parts.append(f".{segment}" if parts else segment)
    return "".join(parts)


def near_miss(word: str, known: Sequence[str]) -> str:
    """What may have been meant, as the end of a sentence; of few words all, when none is close."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(known)}" if 0 < len(known) <= _MAX_KNOWN else ""


def described(value: object) -> str:
    """What a value is, for a sentence that says what it should be."""
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return f"{value[:40]!r}"
        case _:
            return f"{value}"
