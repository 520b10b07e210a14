"""Reads a .sumocfg the way SUMO does, but takes only what is allowed, each refusal with its line."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from scenario import sumo_options
from scenario.bundle import holds
from scenario.elements import resolve
from scenario.findings import Report
from scenario.model import Finding, ScenarioRejected, Scene, SumoOption
from scenario.options import DISCARDED, INPUTS, canonical, judge_option, seconds
from scenario.xml_stream import XmlReader, read_xml

# SUMO's own default.
DEFAULT_STEP_LENGTH_S: Final = 1.0
MAX_OPTIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Declared:
    """An option as the configuration sets it, by its canonical name."""

    name: str
    value: str
    line: int


def read_config(root: Path, config_path: str, report: Report) -> Scene | None:
    """What the configuration would run; None, with errors in the report, when it cannot."""
    try:
        declared = _declared(root / config_path, config_path)
    except ScenarioRejected as rejected:
        for finding in rejected.findings:
            report.error(finding)
        return None
    reading = _Reading(root, config_path, report)
    for option in declared:
        reading.take(option)
    return reading.scene()


def _declared(path: Path, name: str) -> tuple[Declared, ...]:
    found: dict[str, Declared] = {}

    def on_start(tag: str, attributes: Mapping[str, str], reader: XmlReader) -> None:
        value = attributes.get("value", attributes.get("v"))
        if value is None:  # a section such as <input>, or an option left unset
            return
        option = canonical(tag)
        if option in found:
            raise reader.refuse("option-repeated", f"the option {option[:80]} is set twice")
        if len(found) >= MAX_OPTIONS:
            raise reader.refuse("xml-too-large", f"more than {MAX_OPTIONS} options")
        found[option] = Declared(option, value, reader.line)

    read_xml(path, name, on_start)
    return tuple(found.values())


class _Reading:
    """One configuration on its way to a Scene."""

    def __init__(self, root: Path, config_path: str, report: Report) -> None:
        self._root = root
        self._config_path = config_path
        self._folder = posixpath.dirname(config_path)
        self._report = report
        self._files: dict[str, tuple[str, ...]] = {}
        self._times: dict[str, float] = {}
        self._options: list[SumoOption] = []

    def take(self, option: Declared) -> None:
        """Takes one option over, or reports why not."""
        name, value = option.name, option.value
        if name in sumo_options.IGNORED:
            self._warn("option-ignored", f"{name} has no part in the simulation and is ignored", option.line)
            return
        if name in sumo_options.SESSION:
            self._warn("option-overridden", f"{name} is set by the session; '{value[:80]}' is ignored", option.line)
            return
        wrong = judge_option(name, value)
        if wrong is not None:
            self._report.error(Finding(*wrong, self._config_path, option.line))
        elif name in {"net-file", "route-files", "additional-files"} | INPUTS:
            self._take_files(option)
        elif name in sumo_options.SCENE:
            self._times[name] = seconds(value) or 0.0
        elif name in sumo_options.OUTPUTS and value in DISCARDED:
            return
        else:
            if name in sumo_options.OUTPUTS:
                self._warn("output-redirected", f"{name} '{value[:200]}' lands in the session's outputs", option.line)
            self._options.append(SumoOption(name, value))

    def scene(self) -> Scene | None:
        """What all options together would run."""
        net = self._files.get("net-file", ())
        if len(net) != 1:
            if not self._report.errors:
                self._report.error(Finding("net-missing", "the configuration names no net-file", self._config_path))
            return None
        end = self._times.get("end", -1.0)
        return Scene(
            scenario_digest="",
            net_file=net[0],
            route_files=self._files.get("route-files", ()),
            additional_files=self._files.get("additional-files", ()),
            begin_time_s=self._times.get("begin", 0.0),
            end_time_s=end if end >= 0 else None,
            step_length_s=self._times.get("step-length", DEFAULT_STEP_LENGTH_S),
            options=tuple(sorted(self._options, key=lambda option: option.name)),
        )

    def _take_files(self, option: Declared) -> None:
        paths = [self._input(part.strip(), option) for part in option.value.split(",") if part.strip()]
        found = tuple(path for path in paths if path is not None)
        self._files[option.name] = found
        if option.name in INPUTS and len(found) == len(paths):
            self._options.append(SumoOption(option.name, ",".join(found)))

    def _input(self, value: str, option: Declared) -> str | None:
        # SUMO decodes %20 and the like in the file names of configurations it saved itself.
        for spelling in (value, unquote(value)):
            path = resolve(spelling, folder=self._folder)
            if path is None:
                self._error("path-escapes", f"{option.name} '{value[:200]}' leaves the scenario", option.line)
                return None
            if holds(self._root, path):
                return path
        self._error("input-missing", f"{option.name} names '{value[:200]}', which is not there", option.line)
        return None

    def _error(self, rule: str, message: str, line: int) -> None:
        self._report.error(Finding(rule, message, self._config_path, line))

    def _warn(self, rule: str, message: str, line: int) -> None:
        self._report.warning(Finding(rule, message, self._config_path, line))
