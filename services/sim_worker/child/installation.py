"""Where SUMO is installed, and how a child reaches it once it is a user that may not go there.

A clone below `/root` is closed to others. What is opened before privileges are dropped stays reachable below
`/proc/self/fd`, also for a program that inherits the descriptors.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# Names another build of the binary.
BINARY_VARIABLE: Final = "MILEPOST_SUMO_BINARY"
# Where SUMO finds its own tables, for example those of emissions.
_HOME_VARIABLE: Final = "SUMO_HOME"
_DISTRIBUTIONS: Final = ("libsumo", "eclipse-sumo")
_OPENED: Final = "/proc/self/fd/"
# Beside the package in an installed wheel.
_LIBRARIES: Final = "eclipse_sumo.libs"


@dataclass(frozen=True, slots=True)
class SumoBinary:
    """What starts `sumo`: the program, additions to its environment, descriptors that it must inherit."""

    program: str
    environment: dict[str, str]
    descriptors: Sequence[int]


def open_home() -> None:
    """Keep SUMO's own tables reachable from this process."""
    home = Path(os.environ.get(_HOME_VARIABLE, ""))
    if home.is_absolute() and home.is_dir():
        os.environ[_HOME_VARIABLE] = _opened(home)[0]


def open_binary() -> SumoBinary | None:
    """The binary that the environment names, else the one of the installed package; None when there is none."""
    path = _binary()
    if path is None or not path.is_file():
        return None
    program, program_fd = _opened(path)
    descriptors, environment = [program_fd], {}
    libraries = path.resolve().parents[2] / _LIBRARIES
    if libraries.is_dir():
        environment["LD_LIBRARY_PATH"], libraries_fd = _opened(libraries)
        descriptors.append(libraries_fd)
    home = os.environ.get(_HOME_VARIABLE, "")
    if home.startswith(_OPENED):
        descriptors.append(int(home.removeprefix(_OPENED)))
    return SumoBinary(program, environment, descriptors)


def installed_version() -> str:
    """Version of the installed SUMO; empty when there is none."""
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _opened(path: Path) -> tuple[str, int]:
    """Another name of the path, good for as long as the descriptor is open."""
    descriptor = os.open(path, os.O_PATH)
    return f"{_OPENED}{descriptor}", descriptor


def _binary() -> Path | None:
    if named := os.environ.get(BINARY_VARIABLE):
        return Path(named)
    spec = find_spec("sumo")
    return Path(spec.origin).parent / "bin" / "sumo" if spec is not None and spec.origin is not None else None
