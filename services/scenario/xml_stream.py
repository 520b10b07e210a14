"""Reads XML of any size within limits: no DOCTYPE, no entity, bounded bytes, depth, elements and attributes.

Reads gzip as SUMO does, by content and not by name. Elements carry their qualified names, as SUMO compares them.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, cast
from xml.sax import SAXParseException  # the error's type; the parser is defusedxml's

from defusedxml import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from scenario.limits import (
    MAX_ATTRIBUTE_CHARS,
    MAX_INFLATE_RATIO,
    MAX_XML_BYTES,
    MAX_XML_DEPTH,
    MAX_XML_ELEMENTS,
    MIB,
    RATIO_FREE_BYTES,
)
from scenario.model import Finding, ScenarioRejected

GZIP_MAGIC: Final = b"\x1f\x8b"
_CHUNK_BYTES: Final = MIB
# Supersets of ASCII, one byte each or UTF-8: here a `<` byte is a `<`, for whoever reads or rewrites the bytes.
_ENCODINGS: Final = ("utf-8", "us-ascii", "ascii", "iso-8859-", "windows-125", "latin1")
_WIDE_STARTS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00", b"<\x00")


class XmlReader(DefusedExpatParser):
    """One pass over one file. `read_xml` drives it; the callback asks it where it is."""

    _parser: Any  # pyexpat's, which SAX's driver keeps to itself

    def __init__(self, name: str, on_start: OnStart, on_end: OnEnd | None = None) -> None:
        super().__init__(forbid_dtd=True, forbid_entities=True, forbid_external=True)
        self.name = name
        self._on_start = on_start
        self._on_end = on_end
        self._depth = 0
        self._elements = 0

    def reset(self) -> None:
        """Called by SAX before the first byte."""
        super().reset()
        self._parser.XmlDeclHandler = self._declaration
        # Text, comments and instructions are nothing to us: without callbacks they cost next to nothing.
        self._parser.CharacterDataHandler = None
        self._parser.ProcessingInstructionHandler = None

    @property
    def line(self) -> int:
        """Line of the current element, from 1."""
        return cast("int", self._parser.CurrentLineNumber)

    @property
    def byte_index(self) -> int:
        """Offset of the current start tag's `<` in the (inflated) file."""
        return cast("int", self._parser.CurrentByteIndex)

    def refuse(self, rule: str, message: str) -> ScenarioRejected:
        """The refusal of what stands at the current place; to be raised."""
        return ScenarioRejected(Finding(rule, message, self.name, self.line))

    # SAX's own method would wrap every element's attributes in an object, which a city's million elements feel.
    def start_element(self, name: str, attrs: Mapping[str, str]) -> None:
        """A start tag, from expat."""
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_XML_DEPTH:
            raise self.refuse("xml-too-deep", f"elements are nested more than {MAX_XML_DEPTH} deep")
        if self._elements > MAX_XML_ELEMENTS:
            raise self.refuse("xml-too-large", f"more than {MAX_XML_ELEMENTS} elements")
        for value in attrs.values():
            if len(value) > MAX_ATTRIBUTE_CHARS:
                raise self.refuse("xml-too-large", f"an attribute of more than {MAX_ATTRIBUTE_CHARS} characters")
        if name == "include":
            raise self.refuse("xml-include", "<include> is not allowed; list the file in the configuration")
        self._on_start(name, attrs, self)

    def end_element(self, name: str) -> None:
        """An end tag, from expat."""
        self._depth -= 1
        if self._on_end is not None:
            self._on_end()

    def _declaration(self, version: str, encoding: str | None, _standalone: int) -> None:
        if version != "1.0":
            raise self.refuse("xml-malformed", f"XML {version[:40]} is not taken; use 1.0")
        if encoding is not None and not encoding.lower().startswith(_ENCODINGS):
            raise self.refuse("xml-encoding", f"the encoding {encoding[:40]} is not taken; use UTF-8")


OnStart: TypeAlias = Callable[[str, Mapping[str, str], XmlReader], None]
OnEnd: TypeAlias = Callable[[], None]


def open_inflated(path: Path) -> IO[bytes]:
    """The content of `path`, inflated when it is gzip."""
    with path.open("rb") as opened:
        magic = opened.read(len(GZIP_MAGIC))
    return cast("IO[bytes]", gzip.open(path)) if magic == GZIP_MAGIC else path.open("rb")


def read_xml(path: Path, name: str, on_start: OnStart, on_end: OnEnd | None = None) -> None:
    """Reads `path`, called `name` in findings, and calls `on_start(tag, attributes, reader)` for every element.

    `on_end()` is called where an element ends.

    Raises ScenarioRejected at the first thing that makes the file unreadable; the finding has its line.
    """
    reader = XmlReader(name, on_start, on_end)
    limit_bytes = min(MAX_XML_BYTES, max(RATIO_FREE_BYTES, path.stat().st_size * MAX_INFLATE_RATIO))
    size_bytes = 0
    try:
        with open_inflated(path) as source:
            while chunk := source.read(_CHUNK_BYTES):
                if not size_bytes and chunk.startswith(_WIDE_STARTS):
                    raise ScenarioRejected(
                        Finding("xml-encoding", "UTF-16 and UTF-32 are not taken; use UTF-8", name, 1)
                    )
                size_bytes += len(chunk)
                if size_bytes > limit_bytes:
                    raise reader.refuse("xml-too-large", f"inflates to more than {limit_bytes} bytes")
                reader.feed(chunk)
            reader.feed(b"", isFinal=True)
    except DefusedXmlException as error:
        raise reader.refuse("xml-doctype", "a DOCTYPE and entities are not allowed") from error
    except SAXParseException as error:
        message = f"not well-formed: {error.getMessage()}, column {error.getColumnNumber()}"
        raise ScenarioRejected(Finding("xml-malformed", message, name, error.getLineNumber() or 0)) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ScenarioRejected(Finding("xml-malformed", f"broken gzip: {error}", name)) from error
