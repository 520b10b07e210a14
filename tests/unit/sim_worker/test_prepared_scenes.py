"""What was prepared once serves the next session of the same scenario, byte for byte."""

import asyncio
import shutil
from pathlib import Path

import pytest

from scenario.demo import demo_directory
from scenario.inspect import inspect
from scenario.prepare import PreparedScene, RunOptions, prepare
from sim_worker.gateways.prepared_scenes import PreparedScenes

KEY, OTHER = "0" * 64, "1" * 64


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def fresh(session: Path, *, seed: int) -> PreparedScene:
    """The demo city, prepared in `session`."""
    root = session / "scene"
    shutil.copytree(demo_directory(), root, copy_function=shutil.copyfile)
    (config,) = [path.name for path in root.glob("*.sumocfg")]
    scene = inspect(root, config).scene
    assert scene is not None
    return prepare(root, scene, spec=RunOptions(seed=seed))


def empty(session: Path) -> Path:
    root = session / "scene"
    root.mkdir(parents=True)
    return root


async def test_a_second_session_gets_what_it_would_have_prepared_itself(tmp_path: Path) -> None:
    scenes = PreparedScenes(tmp_path / "prepared")
    assert await scenes.lay_out(KEY, empty(tmp_path / "early"), seed=2) is None
    await scenes.keep(KEY, tmp_path / "first" / "scene", fresh(tmp_path / "first", seed=1))
    # What the first session does with its own files is its own affair.
    shutil.rmtree(tmp_path / "first")
    for name in ("second", "third"):
        found = await scenes.lay_out(KEY, empty(tmp_path / name), seed=2)
        assert found == fresh(tmp_path / f"{name}-alone", seed=2)
        assert files(tmp_path / name) == files(tmp_path / f"{name}-alone")
        assert (tmp_path / name / "outputs").is_dir()
        for path in (tmp_path / name).rglob("*.xml*"):
            path.write_bytes(b"spoiled")


async def test_a_worker_that_starts_anew_begins_with_nothing(tmp_path: Path) -> None:
    scenes = PreparedScenes(tmp_path / "prepared")
    await scenes.keep(KEY, tmp_path / "first" / "scene", fresh(tmp_path / "first", seed=1))
    assert await PreparedScenes(tmp_path / "prepared").lay_out(KEY, empty(tmp_path / "next"), seed=1) is None
    assert list((tmp_path / "prepared").iterdir()) == []


async def test_what_was_used_longest_ago_makes_room_whole(tmp_path: Path) -> None:
    prepared = fresh(tmp_path / "first", seed=1)
    root = tmp_path / "first" / "scene"
    size_bytes = sum(map(len, files(root).values()))
    scenes = PreparedScenes(tmp_path / "prepared", max_bytes=2 * size_bytes)
    for key in (KEY, OTHER):
        await scenes.keep(key, root, prepared)
    assert await scenes.lay_out(KEY, empty(tmp_path / "again"), seed=1) is not None
    third = "2" * 64
    laid_out, _ = await asyncio.gather(
        scenes.lay_out(OTHER, empty(tmp_path / "meanwhile"), seed=1), scenes.keep(third, root, prepared)
    )
    assert laid_out is None or files(tmp_path / "meanwhile" / "scene") == files(root)
    assert {path.name for path in (tmp_path / "prepared").iterdir()} in ({KEY, third}, {OTHER, third})
    await PreparedScenes(tmp_path / "small", max_bytes=size_bytes - 1).keep(KEY, root, prepared)
    assert list((tmp_path / "small").iterdir()) == []


async def test_a_disk_that_is_full_keeps_nothing_and_stops_nobody(tmp_path: Path) -> None:
    scenes = PreparedScenes(tmp_path / "prepared")
    prepared = fresh(tmp_path / "first", seed=1)
    (tmp_path / "prepared").rmdir()
    # Nothing can be made below a file.
    (tmp_path / "prepared").write_bytes(b"")
    await scenes.keep(KEY, tmp_path / "first" / "scene", prepared)
    assert await scenes.lay_out(KEY, empty(tmp_path / "next"), seed=1) is None


@pytest.mark.parametrize("seed", [0, 2147483647])
def test_a_seed_stands_in_the_arguments_alone(tmp_path: Path, seed: int) -> None:
    assert fresh(tmp_path / "a", seed=7).with_seed(seed) == fresh(tmp_path / "b", seed=seed)
