"""Real SUMO, the three shared scenarios, and a runner for prepared scenes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario.model import Scene
from scenario.prepare import PreparedScene, RunOptions, prepare

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("MILEPOST_SCENARIOS", REPOSITORY.parent / "shared" / "scenarios"))
TINY = REPOSITORY / "tests" / "unit" / "scenario" / "tiny"
SUMO = Path(sys.executable).parent / "sumo"
SUMO_DEADLINE_S = 60


@pytest.fixture
def sumo() -> Callable[..., str]:
    """Runs the binary in `folder` with arguments; what it printed. A failure of SUMO fails the test."""

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [SUMO, *arguments], cwd=folder, capture_output=True, text=True, timeout=SUMO_DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A writable copy of the smallest scenario, where a worker would put it."""
    return copy(TINY, tmp_path / "session" / "scene")


@pytest.fixture(params=["bologna_acosta", "resco_cologne1", "resco_ingolstadt21"])
def shared(request: pytest.FixtureRequest) -> Path:
    """One of the shared real scenarios, read-only."""
    folder = SHARED / str(request.param)
    if not folder.is_dir():
        pytest.skip(f"MILEPOST_SCENARIOS: there is no {folder.name} in {SHARED}")
    return folder


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., tuple[Path, PreparedScene]]:
    """Prepares a scene from a copy of `folder`; the session's directory and what SUMO gets."""

    def make(folder: Path, scene: Scene, spec: RunOptions) -> tuple[Path, PreparedScene]:
        session_directory = tmp_path / "prepared"
        root = copy(folder, session_directory / "scene")
        return session_directory, prepare(root, scene, spec=spec)

    return make


def copy(folder: Path, to: Path) -> Path:
    """A copy that may be written to, also of a read-only folder."""
    to.mkdir(parents=True)
    for source in folder.rglob("*"):
        target = to / source.relative_to(folder)
        if source.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(source, target)
    return to
