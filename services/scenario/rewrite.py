"""Puts other values into attributes of an XML file and leaves every other byte as it is."""

from __future__ import annotations

import gzip
import mmap
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from scenario.model import Finding, ScenarioRejected
from scenario.xml_stream import open_inflated

_ELEMENT_NAME: Final = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE: Final = re.compile(rb"""\s+([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


@dataclass(frozen=True, slots=True)
class Edit:
    """A new value of one attribute. `byte_index` is that of the tag's `<` in the (inflated) file."""

    byte_index: int
    attribute: str
    value: str  # of characters that XML leaves alone


def rewrite(path: Path, edits: Iterable[Edit]) -> None:
    """Replaces `path` by a file with the edits made; gzip stays gzip. The old file is not written to.

    The file has been read by `read_xml`: well-formed, no DOCTYPE, an encoding that contains ASCII.
    """
    with ExitStack() as stack:
        content, was_gzip = _mapped(path, stack)
        view = stack.enter_context(memoryview(content))
        new = tempfile.NamedTemporaryFile(dir=path.parent, delete=False)  # noqa: SIM115 - becomes `path`
        sink = cast("IO[bytes]", stack.enter_context(new))
        if was_gzip:
            # No name and no time in the header: equal content, equal bytes.
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=sink, compresslevel=1, mtime=0)
            sink = cast("IO[bytes]", stack.enter_context(packed))
        at = 0
        for start, end, value in sorted(_span(content, edit, path.name) for edit in edits):
            sink.write(view[at:start])
            sink.write(value)
            at = end
        sink.write(view[at:])
    shutil.copymode(path, new.name)
    Path(new.name).replace(path)


def _mapped(path: Path, stack: ExitStack) -> tuple[mmap.mmap, bool]:
    """The inflated content in memory that the system may page out, and whether it was gzip."""
    source = stack.enter_context(open_inflated(path))
    was_gzip = isinstance(source, gzip.GzipFile)
    plain: IO[bytes] = source
    if was_gzip:
        unnamed = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - the stack closes it
        plain = cast("IO[bytes]", stack.enter_context(unnamed))
        shutil.copyfileobj(source, plain)
        plain.flush()
    return stack.enter_context(mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ)), was_gzip


def attribute_span(content: bytes | mmap.mmap, byte_index: int, attribute: str) -> tuple[int, int] | None:
    """From where to where an attribute's value stands in the tag whose `<` is at `byte_index`; None: nowhere."""
    found = _ELEMENT_NAME.match(content, byte_index)
    while found is not None:
        found = _ATTRIBUTE.match(content, found.end())
        if found is not None and found[1] == attribute.encode():
            group = 2 if found[2] is not None else 3
            return found.start(group), found.end(group)
    return None


def _span(content: mmap.mmap, edit: Edit, name: str) -> tuple[int, int, bytes]:
    """From where to where the old value stands, and the new one."""
    span = attribute_span(content, edit.byte_index, edit.attribute)
    if span is None:
        raise ScenarioRejected(
            Finding("xml-malformed", f"the attribute {edit.attribute} is not where it was read", name)
        )
    return *span, edit.value.encode()
