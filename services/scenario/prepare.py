"""Turns a scene and fresh copies of its files into what SUMO is started with. Trusts no earlier inspection.

<session directory>/        SUMO's working directory; every path in the arguments is relative to it
scene/                  the scenario's files, rewritten here where they name outputs
outputs/                whatever the scenario has SUMO write, under safe names
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from scenario import edge_data, sumo_options
from scenario.bundle import check_path, holds
from scenario.edge_data import EdgeData
from scenario.elements import OUTPUTS, NamedFile, Purpose, escaping_model, input_paths, named_files
from scenario.model import Finding, ScenarioRejected, Scene, SumoOption
from scenario.options import DISCARDED, INPUTS, is_socket, judge_option, override
from scenario.outputs import OUTPUT_FOLDER, Output, OutputNames
from scenario.rewrite import Edit, rewrite
from scenario.xml_stream import XmlReader, read_xml

# Order and values are part of every session's log. No validation: it would fetch schemas over http. All routes at
# once: what makes a fork of the process exact. One thread: what makes a run repeatable.
_NO_VALIDATION: Final = ("-X", "never", "--xml-validation.net", "never", "--xml-validation.routes", "never")
_SEED: Final = "--seed"
_SESSION_ARGUMENTS: Final = (
    *("--route-steps", "0", "--threads", "1", "--device.rerouting.threads", "0"),
    *("--save-state.rng", "--save-state.transportables", "--save-state.constraints"),
    *("--save-state.precision", "17", "--device.tripinfo.probability", "1", "--no-step-log"),
)
# Without a file of its own each vehicle with an SSM device writes one beside the scene.
_SSM_FILE: Final = "device.ssm.file"
_SSM_DEFAULT_NAME: Final = "ssm.xml"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a session adds to its scene. `end_time_s` and `options` replace the scene's own where given."""

    seed: int
    end_time_s: float | None = None
    options: tuple[SumoOption, ...] = ()
    ignore_route_errors: bool = False
    edge_data: EdgeData | None = None


@dataclass(frozen=True, slots=True)
class PreparedScene:
    """SUMO's arguments without the program, the files it may write, and the scene as overridden."""

    arguments: tuple[str, ...]
    outputs: tuple[Output, ...]
    scene: Scene

    def with_seed(self, seed: int) -> PreparedScene:
        """The same for another seed: it stands in the arguments and nowhere else."""
        at = self.arguments.index(_SEED) + 1
        return replace(self, arguments=(*self.arguments[:at], str(seed), *self.arguments[at + 1 :]))


def prepare(root: Path, scene: Scene, *, spec: RunOptions) -> PreparedScene:
    """Rewrites the files in `root` (`<session directory>/scene`) and makes `outputs/` beside it.

    Blocks: reads all XML of the scene once. Raises ScenarioRejected, also for what an inspection would have refused.
    """
    effective = override(scene, spec.options)
    # Not among the scenario's outputs, so that nothing that is simulated tells whether somebody wanted it.
    names = OutputNames(taken=[edge_data.FILE_NAME] if spec.edge_data is not None else ())
    preparation = _Preparation(root, names)
    options = [preparation.option(option) for option in effective.options]
    for path in (effective.net_file, *effective.route_files, *effective.additional_files):
        preparation.read(path)
    preparation.read_pending()
    if preparation.uses_ssm and all(option.name != _SSM_FILE for option in options):
        options.append(SumoOption(_SSM_FILE, names.path_for(_SSM_DEFAULT_NAME, target=f"option {_SSM_DEFAULT_NAME}")))
    (root.parent / OUTPUT_FOLDER).mkdir(exist_ok=True)
    end_time_s = effective.end_time_s if spec.end_time_s is None else spec.end_time_s
    arguments = [*_NO_VALIDATION, _SEED, str(spec.seed), *_SESSION_ARGUMENTS]
    if spec.ignore_route_errors:
        arguments.append("--ignore-route-errors")
        options = [option for option in options if option.name != "ignore-route-errors"]
    arguments += ["--net-file", preparation.path(effective.net_file)]
    additional = [*effective.additional_files]
    if spec.edge_data is not None:
        additional.append(edge_data.add_edge_data(root, spec.edge_data))
    for name, paths in (("--route-files", effective.route_files), ("--additional-files", additional)):
        if paths:
            arguments += [name, ",".join(preparation.path(path) for path in paths)]
    arguments += ["--begin", _number(effective.begin_time_s), "--step-length", _number(effective.step_length_s)]
    if end_time_s is not None:
        arguments += ["--end", _number(end_time_s)]
    for option in sorted(options, key=lambda option: option.name):
        arguments += [f"--{option.name}", option.value]
    return PreparedScene(tuple(arguments), names.all, effective)


class _Preparation:
    """One session's files on their way to SUMO."""

    def __init__(self, root: Path, names: OutputNames) -> None:
        self._root = root
        self._names = names
        self._seen: set[str] = set()
        self._pending: list[str] = []
        self.uses_ssm = False

    def option(self, option: SumoOption) -> SumoOption:
        """The option as SUMO gets it. Raises ScenarioRejected for one that a scenario may not set."""
        name, value = option.name, option.value
        wrong = judge_option(name, value)
        if wrong is None and name in sumo_options.SESSION | sumo_options.IGNORED | sumo_options.SCENE:
            wrong = "option-not-allowed", f"the option {name} is no scene's to set"
        if wrong is not None:
            raise ScenarioRejected(Finding(*wrong))
        self.uses_ssm = self.uses_ssm or name.startswith("device.ssm.")
        if name in sumo_options.OUTPUTS:
            return SumoOption(name, self._names.path_for(value, target=f"option {value}"))
        if name in INPUTS:
            paths = value.split(",")
            if name in sumo_options.XML_INPUTS:
                self._pending += paths
            return SumoOption(name, ",".join(self.path(path) for path in paths))
        return option

    def path(self, path: str) -> str:
        """`path` of the scenario as SUMO gets it. Raises ScenarioRejected unless it is a file in there, and no link."""
        wrong = check_path(path)
        if wrong is None:
            place = self._root / path
            if not place.is_file():
                wrong = Finding("input-missing", "the file is not there", path)
            elif "," in path or ":" in path:
                wrong = Finding("path-invalid", "SUMO cannot be given a path with a comma or a colon", path)
            elif place.resolve() != self._root.resolve() / path:
                wrong = Finding("path-escapes", "the file is reached through a link", path)
        if wrong is not None:
            raise ScenarioRejected(wrong)
        return f"{self._root.name}/{path}"

    def read_pending(self) -> None:
        """Reads the inputs that other files name."""
        while self._pending:
            self.read(self._pending.pop(0))

    def read(self, path: str) -> None:
        """Reads one XML file and rewrites it where it names outputs."""
        self.path(path)
        if path in self._seen:
            return
        self._seen.add(path)
        edits: list[Edit] = []

        def on_start(tag: str, attributes: Mapping[str, str], reader: XmlReader) -> None:
            for named in named_files(tag, attributes):
                value = self._value(named, reader)
                if value != named.value:
                    edits.append(Edit(reader.byte_index, named.attribute, value))
            if tag == "param" and "ssm" in attributes.get("key", ""):
                self.uses_ssm = True
            if escaping_model(attributes) is not None:
                raise reader.refuse("path-escapes", "the emission class leaves SUMO's tables")

        read_xml(self._root / path, path, on_start)
        if edits:
            rewrite(self._root / path, edits)

    def _value(self, named: NamedFile, reader: XmlReader) -> str:
        """What stands in the attribute in place of what the scenario wrote."""
        folder = posixpath.dirname(reader.name)
        if named.purpose in OUTPUTS:
            if named.value in DISCARDED:
                return named.value
            if is_socket(named.value):
                raise reader.refuse("output-socket", "an output would write to the network")
            target = posixpath.normpath(posixpath.join(folder, named.value))
            if named.purpose is Purpose.OUTPUT_FROM_CWD:
                return self._names.path_for(named.value, target=f"option {named.value}")
            path = self._names.path_for(named.value, target=f"file {target}")
            return posixpath.relpath(path, posixpath.join(self._root.name, folder))
        if not named.value:
            return named.value
        paths = input_paths(named, in_file=reader.name)
        if not paths:
            raise reader.refuse("path-escapes", "an input leaves the scenario")
        found = next((path for path in paths if holds(self._root, path)), paths[0])
        if named.purpose is Purpose.XML_INPUT:
            self._pending.append(found)
            return named.value
        return self.path(found)


def _number(value: float) -> str:
    """A time as SUMO reads it: at most 15 digits, no trailing zeros."""
    return f"{value:.15g}"
