"""Files of scenarios on this worker: fetched once by digest, copied fresh into each session's directory."""

import asyncio
import shutil
from pathlib import Path

from runtime.blobs import Blobs
from scenario.model import Manifest

# A manifest of 2,000 files is far smaller than this.
MANIFEST_MAX_BYTES = 4 * 1024 * 1024
# Disk the cache may take, bytes; what was used longest ago goes first.
CACHE_MAX_BYTES = 4 * 1024**3


class SceneFiles:
    """A cache of blobs below `folder`, safe for concurrent sessions of one process."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs
        self._fetching: dict[str, asyncio.Lock] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("*.part"):
            partial.unlink()

    async def lay_out(self, scenario_digest: str, into: Path) -> None:
        """Write the scenario's files below `into`. Raises BlobMissing, BlobCorrupt, gRPC errors."""
        manifest = Manifest.parse((await self._cached(scenario_digest)).read_text())
        for file in manifest.files:
            source = await self._cached(file.sha256)
            target = into / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(shutil.copyfile, source, target)
        await asyncio.to_thread(self._trim)

    async def _cached(self, sha256: str) -> Path:
        path = self._folder / sha256
        async with self._fetching.setdefault(sha256, asyncio.Lock()):
            if path.exists():
                path.touch()
            else:
                partial = path.with_suffix(".part")
                partial.unlink(missing_ok=True)
                await self._blobs.get_file(sha256, partial)
                partial.rename(path)
        return path

    def _trim(self) -> None:
        """Keep within bounds. A file that is gone is fetched again; one being copied stays readable."""
        files = sorted(((path.stat(), path) for path in self._folder.iterdir()), key=lambda item: item[0].st_mtime)
        size = sum(stat.st_size for stat, _ in files)
        for stat, path in files:
            if size <= CACHE_MAX_BYTES:
                return
            path.unlink(missing_ok=True)
            size -= stat.st_size
