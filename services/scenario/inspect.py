"""Inspects a scenario before anything of it runs: configuration, XML, references between files, edges of routes.

Run on uploads through `limited.inspect_limited`: this reads whatever strangers sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scenario import sumo_options
from scenario.bundle import check_path, holds
from scenario.config import read_config
from scenario.elements import OUTPUTS, NamedFile, Purpose, escaping_model, input_paths, named_edges, named_files
from scenario.findings import Report
from scenario.model import Finding, Inspection, ScenarioRejected, Scene
from scenario.options import DISCARDED, is_socket
from scenario.xml_stream import OnStart, XmlReader, read_xml


def inspect(root: Path, config_path: str) -> Inspection:
    """Inspects the scenario in `root` that `config_path` (inside it) configures. Never raises for its content."""
    report = Report()
    scene = None
    wrong = check_path(config_path)
    if wrong is not None:
        report.error(wrong)
    elif not (root / config_path).is_file():
        report.error(Finding("config-missing", "the configuration is not there", config_path))
    else:
        scene = read_config(root, config_path, report)
    if scene is not None:
        _Pass(root, report).read(scene)
    return Inspection(None if report.errors else scene, report.errors, report.warnings)


class _Pass:
    """One pass over all XML a scene names, the net first: routes are held against its edges."""

    def __init__(self, root: Path, report: Report) -> None:
        self._root = root
        self._report = report
        self._edges: set[str] = set()
        self._pending: list[str] = []
        self._outputs: set[tuple[str, str]] = set()

    def read(self, scene: Scene) -> None:
        """Reads all files of the scene and those that they name."""
        has_roads = self._read_net(scene.net_file)
        further = [
            path
            for option in scene.options
            if option.name in sumo_options.XML_INPUTS
            for path in option.value.split(",")
        ]
        self._pending = [*scene.route_files, *scene.additional_files, *further]
        seen = {scene.net_file}
        while self._pending:
            path = self._pending.pop(0)
            if path not in seen:
                seen.add(path)
                self._read(path, check_edges=has_roads)

    def _read_net(self, path: str) -> bool:
        roads = 0

        def on_start(tag: str, attributes: Mapping[str, str], reader: XmlReader) -> None:
            nonlocal roads
            if tag == "edge":
                self._edges.add(attributes.get("id", ""))
                roads += attributes.get("function", "normal") != "internal"
            self._look_at(tag, attributes, reader)

        readable = self._guarded(path, on_start)
        if readable and not roads:
            self._report.error(Finding("net-empty", "the network has no edges; is it a network at all?", path))
        return roads > 0

    def _read(self, path: str, *, check_edges: bool) -> None:
        def on_start(tag: str, attributes: Mapping[str, str], reader: XmlReader) -> None:
            if check_edges:
                for edge in named_edges(tag, attributes):
                    if edge not in self._edges:
                        message = f"<{tag}> {_called(attributes)}uses the edge '{edge[:80]}', which the network lacks"
                        self._report.error(Finding("route-edge-unknown", message, path, reader.line))
            self._look_at(tag, attributes, reader)

        self._guarded(path, on_start)

    def _guarded(self, path: str, on_start: OnStart) -> bool:
        try:
            read_xml(self._root / path, path, on_start)
        except ScenarioRejected as rejected:
            for finding in rejected.findings:
                self._report.error(finding)
            return False
        return True

    def _look_at(self, tag: str, attributes: Mapping[str, str], reader: XmlReader) -> None:
        for named in named_files(tag, attributes):
            if named.purpose in OUTPUTS:
                self._output(tag, named, reader)
            else:
                self._input(tag, named, reader)
        model = escaping_model(attributes)
        if model is not None:
            self._report.error(_at(reader, "path-escapes", f"the emission class '{model[:200]}' leaves SUMO's tables"))

    def _output(self, tag: str, named: NamedFile, reader: XmlReader) -> None:
        if is_socket(named.value):
            message = f"<{tag}> would write to the network at '{named.value[:80]}'"
            self._report.error(_at(reader, "output-socket", message))
        elif named.value not in DISCARDED and (reader.name, named.value) not in self._outputs:
            self._outputs.add((reader.name, named.value))
            message = f"the output '{named.value[:200]}' lands in the session's outputs"
            self._report.warning(_at(reader, "output-redirected", message))

    def _input(self, tag: str, named: NamedFile, reader: XmlReader) -> None:
        if not named.value:
            return
        paths = input_paths(named, in_file=reader.name)
        path = next((path for path in paths if holds(self._root, path)), None)
        if not paths:
            message = f"<{tag}> reads '{named.value[:200]}', which leaves the scenario"
            self._report.error(_at(reader, "path-escapes", message))
        elif path is None:
            message = f"<{tag}> reads '{named.value[:200]}', which is not there"
            self._report.error(_at(reader, "input-missing", message))
        elif named.purpose is Purpose.XML_INPUT:
            self._pending.append(path)


def _at(reader: XmlReader, rule: str, message: str) -> Finding:
    return Finding(rule, message, reader.name, reader.line)


def _called(attributes: Mapping[str, str]) -> str:
    return f"'{attributes['id'][:80]}' " if "id" in attributes else ""
