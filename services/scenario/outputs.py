"""Names for what a session writes: one safe, unique file name per output, whatever the scenario called it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scenario.model import Finding, ScenarioRejected

OUTPUT_FOLDER: Final = "outputs"
# SUMO holds each one open.
MAX_OUTPUTS: Final = 4096
_MAX_NAME_CHARS: Final = 120
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Output:
    """A file a session may write: `name` as the scenario calls it, `path` relative to the session's directory."""

    name: str
    path: str


class OutputNames:
    """Hands out paths in order of asking: the same scenario always gets the same ones."""

    def __init__(self, *, taken: Iterable[str] = ()) -> None:
        """`taken` are names that are somebody else's."""
        self._by_target: dict[str, Output] = {}
        self._taken = {name.casefold() for name in taken}

    def path_for(self, declared: str, *, target: str) -> str:
        """The path for an output called `declared`; outputs with one `target` share a file, as they do in SUMO."""
        if target not in self._by_target:
            if len(self._by_target) >= MAX_OUTPUTS:
                raise ScenarioRejected(Finding("too-many-outputs", f"more than {MAX_OUTPUTS} output files"))
            self._by_target[target] = Output(declared, f"{OUTPUT_FOLDER}/{self._unique(declared)}")
        return self._by_target[target].path

    @property
    def all(self) -> tuple[Output, ...]:
        """All outputs, in order of asking."""
        return tuple(self._by_target.values())

    def _unique(self, declared: str) -> str:
        base = re.split(r"[/\\]", declared)[-1]
        safe = _UNSAFE.sub("_", base)[-_MAX_NAME_CHARS:].lstrip(".-") or "output"
        stem, dot, endings = safe.partition(".")
        name, count = safe, 1
        while name.casefold() in self._taken:
            count += 1
            name = f"{stem}-{count}{dot}{endings}"
        self._taken.add(name.casefold())
        return name
