"""Scenes that were prepared once, kept as they were then: the next session of the same scene need not read its XML.

    folder/<key>/       the files of a scene, rewritten where they name outputs

What SUMO is started with is kept in memory beside it: a worker that starts anew begins with nothing.
"""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from scenario.outputs import OUTPUT_FOLDER
from scenario.prepare import PreparedScene

# Disk they may take, bytes; what was used longest ago goes first.
MAX_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class _Kept:
    scene: PreparedScene
    size_bytes: int


class PreparedScenes:
    """A cache below `folder`, safe for concurrent sessions of one process; each gets files of its own."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._max_bytes = max_bytes
        # In the order of their use.
        self._kept: dict[str, _Kept] = {}
        self._keeping: set[str] = set()
        self._dropped = 0

    async def lay_out(self, key: str, root: Path, *, seed: int) -> PreparedScene | None:
        """Write a scene's files into `root`, which is empty, and make `outputs/` beside it.

        None when the scene is not here: `root` may hold anything then.
        """
        if (kept := self._kept.pop(key, None)) is None:
            return None
        self._kept[key] = kept
        try:
            await asyncio.to_thread(_copy, self._folder / key, root)
        except OSError:
            # Another session has made room, and it was this that went.
            return None
        (root.parent / OUTPUT_FOLDER).mkdir(exist_ok=True)
        return kept.scene.with_seed(seed)

    async def keep(self, key: str, root: Path, scene: PreparedScene) -> None:
        """Take a copy of what was prepared in `root`. A disk that is full keeps nothing."""
        if key in self._kept or key in self._keeping:
            return
        self._keeping.add(key)
        try:
            size_bytes = await asyncio.to_thread(_size_bytes, root)
            if size_bytes <= self._max_bytes:
                await asyncio.to_thread(_copy, root, self._folder / key)
                self._kept[key] = _Kept(scene, size_bytes)
        except OSError:
            shutil.rmtree(self._folder / key, ignore_errors=True)
        finally:
            self._keeping.discard(key)
        await self._make_room()

    async def _make_room(self) -> None:
        while sum(kept.size_bytes for kept in self._kept.values()) > self._max_bytes:
            key = next(iter(self._kept))
            del self._kept[key]
            # Renamed first: whoever copies it at this moment finds all of a folder, or none.
            self._dropped += 1
            gone = (self._folder / key).rename(self._folder / f"{key}.gone{self._dropped}")
            await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    # Not the times, not the owner: a fresh file, as the session's user gets it.
    shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)


def _size_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
