"""The languages there are clients for: each `clients/<language>/language.json` says what one needs and how it is made.

A package that serves another platform, too, has a `<platform>.language.json` beside it; its driver is the platform's.

    name      for tables
    needs     programs that must be there, each with the package (Debian's name) that brings it
    make      command that makes the client package, run in `clients/<language>`; `clients/build/contracts.binpb`
              (clients/contracts.py) is there then
    driver    `build` (may be empty) and `run`, commands run in `tests/conformance/drivers/<language>`;
              `tests/conformance/build/conformance.binpb`, the same with the runner's own contract, is there then
    example   the README's first complete example: the language of its code `fence`, the `file` it is copied to, and the
              command that makes and runs it. It is run in a folder of its own that holds the file and a scenario, the
              folder `city`; MILEPOST_SERVER says where the server is. `{driver}` in it is the driver's folder

`python` at the head of a command is the interpreter of .venv.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = ROOT / "clients"
DRIVERS = ROOT / "tests" / "conformance" / "drivers"


@dataclass(frozen=True, slots=True)
class Language:
    """One language; commands as in its language.json. `folder`: of its driver, and its name on command lines."""

    folder: str
    client_folder: Path
    name: str
    needs: dict[str, str]
    make: Sequence[str]
    driver_build: Sequence[str]
    driver_run: Sequence[str]
    example: dict[str, Any]

    @property
    def driver_folder(self) -> Path:
        """Where its driver is."""
        return DRIVERS / self.folder

    @property
    def missing(self) -> str:
        """What of its toolchain is not there, in words; empty: nothing."""
        absent = {program: package for program, package in self.needs.items() if not shutil.which(program)}
        return "; ".join(f"{program} is missing, install {package}" for program, package in absent.items())


def languages(names: Sequence[str] = ()) -> list[Language]:
    """All languages, or those whose folders are named; Python first, the others by name."""
    found = [_read(path) for path in sorted(CLIENTS.glob("*/*language.json"))]
    unknown = set(names) - {it.folder for it in found}
    if unknown:
        raise SystemExit(f"no such language: {', '.join(sorted(unknown))}; there are {[it.folder for it in found]}")
    return sorted((it for it in found if not names or it.folder in names), key=lambda it: it.folder != "python")


def command(words: Sequence[str]) -> list[str]:
    """A command as it is run."""
    return [sys.executable if word == "python" else word for word in words]


def ran(words: Sequence[str], folder: Path) -> tuple[bool, str]:
    """Run a command of a language in a folder: whether it succeeded, and all it said."""
    done = subprocess.run(
        command(words),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


def environment() -> dict[str, str]:
    """For commands: with the programs of .venv, and PYTHON naming its interpreter."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PYTHON": sys.executable, "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}"}


def _read(path: Path) -> Language:
    said = json.loads(path.read_text())
    driver = said.get("driver", {})
    return Language(
        folder=path.name.removesuffix("language.json").rstrip(".") or path.parent.name,
        client_folder=path.parent,
        name=said["name"],
        needs=said.get("needs", {}),
        make=said["make"],
        driver_build=driver.get("build", []),
        driver_run=driver.get("run", []),
        example=said.get("example", {}),
    )
