"""Puts values into the places of an XML file; equal values make equal bytes, and those that stand there change nothing.

Only bytes in places change: comments, order and spacing stay, and so do the lines that findings name.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from scenario.limits import MAX_BOUND_FILE_BYTES
from scenario.places import Place
from scenario.xml_stream import GZIP_MAGIC

Bound = float | str
"""A value that is put somewhere: a finite number, or printable text."""

_NUMBER: Final = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
# Beyond it not every whole number is one of floating point.
_WHOLE_BELOW: Final = 2.0**53
_QUOTES: Final = {'"': "&quot;", "'": "&apos;"}


def written(value: Bound) -> str:
    """A value as SUMO reads it; whole numbers without a decimal point, others with as few digits as say which."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) and abs(value) < _WHOLE_BELOW else repr(float(value))


@dataclass(frozen=True, slots=True)
class BoundPlace:
    """A place and what is to stand there."""

    place: Place
    attribute: str
    value: Bound

    @property
    def stands_there(self) -> bool:
        """Whether nothing changes; of numbers it is the value that counts, not how it is written."""
        current = self.place.current
        if current is None:
            return False
        if isinstance(self.value, str):
            return current == self.value
        return _NUMBER.fullmatch(current) is not None and float(current) == self.value


class BoundFile:
    """A file's content, read once and filled in as often as wanted."""

    def __init__(self, content: bytes) -> None:
        """`content`: as it is stored; gzip stays gzip."""
        self._stored = content
        self._packed = content.startswith(GZIP_MAGIC)
        self._plain = content
        if self._packed:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as inflating:
                # `find_places` has read as much and no more.
                self._plain = inflating.read(MAX_BOUND_FILE_BYTES)

    def filled(self, bound: Sequence[BoundPlace]) -> bytes:
        """The file with these values in their places, which do not overlap; the stored bytes when nothing changes."""
        edits = [one for one in bound if not one.stands_there]
        if not edits:
            return self._stored
        parts: list[bytes] = []
        at = 0
        for one in sorted(edits, key=lambda one: (one.place.start, one.attribute)):
            parts += (self._plain[at : one.place.start], _replacement(one))
            at = one.place.end
        content = b"".join((*parts, self._plain[at:]))
        # No name and no time in the header: equal content, equal bytes.
        return gzip.compress(content, compresslevel=1, mtime=0) if self._packed else content


def _replacement(one: BoundPlace) -> bytes:
    # Either kind of quotes may stand around it, and the file may be of any encoding that contains ASCII.
    value = escape(written(one.value), _QUOTES).encode("ascii", "xmlcharrefreplace")
    return value if one.place.current is not None else b' %s="%s"' % (one.attribute.encode("ascii"), value)
