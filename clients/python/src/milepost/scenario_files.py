"""Which local files make a scenario, and their manifest as scenario.proto defines it.

A configuration brings what it names and what its additional files name in turn, not the folder it lies in: that
folder is where SUMO wrote last week's outputs. The root of the scenario is the nearest directory that holds all
of it, so a configuration may use `../net/city.net.xml`; outside its own folder only XML is taken along, lest a
configuration from somewhere makes its reader upload a private key. Whether the files are any good is the server's
to say: what is named but not there is left out here, and refused there with file and line.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from xml.parsers import expat

from milepost.exceptions import ScenarioFilesError
from milepost.scenario.v1.scenario_pb2 import ScenarioFile

# The contract's limit on the files of one scenario.
MAX_FILES = 2000
_READ_BYTES = 1024 * 1024
_CONFIG_SUFFIX = ".sumocfg"
_XML_SUFFIXES = (".xml", ".xml.gz")
# Elements and their attributes that name a file to read; any other `file` of an additional file is written.
_READ = {("variableSpeedSign", "file"), ("calibrator", "file"), ("edgeData", "edgesFile"), ("laneData", "edgesFile")}
# Sections of a configuration whose options name files to write, if any.
_WRITING_SECTIONS = {"output", "report", "gui_only"}
_ADDITIONAL_OPTIONS = {"additional-files", "additional", "a"}


@dataclass(frozen=True, slots=True)
class ScenarioFiles:
    """The files of a scenario below `root`, sorted by path as bytes; `config_path` is one of them."""

    root: Path
    config_path: str
    files: tuple[ScenarioFile, ...]

    @property
    def manifest(self) -> str:
        """The manifest text of scenario.proto."""
        lines = [f"{file.sha256} {file.size_bytes} {file.path}\n" for file in self.files]
        return f"milepost-scenario 1\nconfig {self.config_path}\n{''.join(lines)}"

    @property
    def digest(self) -> str:
        """The scenario's name: SHA-256 of the manifest, lower-case hex."""
        return hashlib.sha256(self.manifest.encode()).hexdigest()


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its content."""
    return path.is_file() and zipfile.is_zipfile(path)


def collect(path: Path) -> ScenarioFiles:
    """The scenario of a `.sumocfg`, or of a directory with exactly one.

    Raises ScenarioFilesError: nothing there, not exactly one configuration, a symbolic link, too many files.
    """
    config = _config_of(path)
    wanted = {config, *_closure(config)}
    if len(wanted) > MAX_FILES:
        raise ScenarioFilesError(f"{path} names {len(wanted)} files; the limit is {MAX_FILES}")
    root = Path(os.path.commonpath([file.parent for file in wanted]))
    for file in wanted:
        _refuse_links(file, root)
    paths = sorted((file.relative_to(root).as_posix() for file in wanted), key=str.encode)
    return ScenarioFiles(
        root=root,
        config_path=config.relative_to(root).as_posix(),
        files=tuple(_described(root, path) for path in paths),
    )


def _config_of(path: Path) -> Path:
    if path.is_file():
        return path.parent.resolve() / path.name
    if not path.is_dir():
        raise ScenarioFilesError(f"{path}: no such file or directory")
    # Archives made on a Mac leave a hidden `._name` beside each file.
    found = sorted(file for file in path.resolve().glob(f"*{_CONFIG_SUFFIX}") if not file.name.startswith("."))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ScenarioFilesError(f"{path} holds no {_CONFIG_SUFFIX}")
    raise ScenarioFilesError(f"{path} holds several configurations, name one: {', '.join(f.name for f in found)}")


def _closure(config: Path) -> Iterator[Path]:
    """Existing files that the configuration names, and those its additional files name."""
    for option, value in _inputs(config):
        for file in _existing(config.parent, value, below=config.parent):
            yield file
            if option in _ADDITIONAL_OPTIONS:
                for inner in _read_by(file):
                    # SUMO resolves some names against the file they stand in, some against where it runs.
                    for folder in (file.parent, config.parent):
                        yield from _existing(folder, inner, below=config.parent)


def _inputs(config: Path) -> list[tuple[str, str]]:
    """Options of a configuration outside the sections of outputs, each with its value."""
    found: list[tuple[str, str]] = []
    section = ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal section
        if "value" not in attributes and "v" not in attributes:
            section = name
        elif section not in _WRITING_SECTIONS and "output" not in name:
            found.append((name, attributes.get("value", attributes.get("v", ""))))

    _parse(config, start)
    return found


def _read_by(additional: Path) -> list[str]:
    """What an additional file names for SUMO to read."""
    found: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        found.extend(value for attribute, value in attributes.items() if (name, attribute) in _READ)

    if additional.suffix != ".gz":
        _parse(additional, start)
    return found


def _parse(path: Path, start: Callable[[str, dict[str, str]], None]) -> None:
    """Call `start` for each element up to the first error, which the server will report with its line."""
    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    # A document type may define entities: nothing good comes of them, and the server refuses it.
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except (expat.ExpatError, _Doctype):
        return


class _Doctype(Exception):
    """The file has a document type declaration."""


def _refuse_doctype(*_: object) -> None:
    raise _Doctype


def _existing(folder: Path, value: str, *, below: Path) -> Iterator[Path]:
    """Files that an option or attribute names, as far as they exist and may be taken along."""
    for part in value.split(","):
        # SUMO decodes %20 and the like in the file names of configurations it saved itself.
        for name in dict.fromkeys((part.strip(), unquote(part.strip()))):
            file = Path(os.path.normpath(folder / name))
            inside = file.is_relative_to(below) or file.name.endswith(_XML_SUFFIXES)
            if name and not Path(name).is_absolute() and inside and (file.is_file() or file.is_symlink()):
                yield file


def _refuse_links(file: Path, root: Path) -> None:
    for part in (file, *file.parents):
        if part == root:
            return
        if part.is_symlink():
            raise ScenarioFilesError(f"{part} is a symbolic link")


def _described(root: Path, path: str) -> ScenarioFile:
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with (root / path).open("rb") as file:
            while piece := file.read(_READ_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
    except OSError as error:
        raise ScenarioFilesError(f"{root / path}: {error.strerror}") from error
    return ScenarioFile(path=path, sha256=digest.hexdigest(), size_bytes=size_bytes)
