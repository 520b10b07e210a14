"""A scenario of two edges and one signal, copied fresh for every test to be broken in its own way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario.inspect import inspect
from scenario.model import Finding, Inspection, Scene

TINY = Path(__file__).parent / "tiny"
CONFIG = "run.sumocfg"


@pytest.fixture
def session_directory(tmp_path: Path) -> Path:
    return tmp_path / "session"


@pytest.fixture
def root(session_directory: Path) -> Path:
    """A copy of the scenario, where a worker would put it."""
    return Path(shutil.copytree(TINY, session_directory / "scene"))


@pytest.fixture
def scene(root: Path) -> Scene:
    found = inspect(root, CONFIG).scene
    assert found is not None
    return found


@pytest.fixture
def inspected(root: Path) -> Callable[..., Inspection]:
    """Inspects the scenario after `path` got `content`, or after `old` in it was replaced by `new`."""

    def write_and_inspect(path: str, content: str | bytes | None = None, *, old: str = "", new: str = "") -> Inspection:
        place = root / path
        if content is None:
            text = place.read_text()
            assert old in text
            content = text.replace(old, new)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return inspect(root, CONFIG)

    return write_and_inspect


@pytest.fixture
def only_error(inspected: Callable[..., Inspection]) -> Callable[..., Finding]:
    """As `inspected`, for what must be refused for exactly one reason."""

    def refused(path: str, content: str | bytes | None = None, *, old: str = "", new: str = "") -> Finding:
        inspection = inspected(path, content, old=old, new=new)
        assert inspection.scene is None
        assert len(inspection.errors) == 1, inspection.errors
        return inspection.errors[0]

    return refused
