"""Inspect scenarios that are made of one that is stored: its files are fetched once, what is new is written beside."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.blobs import Blobs
from scenario.limited import inspect_limited
from scenario.model import ScenarioRejected
from scenario.wire import file_from_proto, finding_to_proto, scene_to_proto
from session_api.application.made_scenario import MadeScenario
from session_api.application.store_scenario import refusal


@dataclass(eq=False)
class WrongSize(Exception):
    """A stored file has another size than was announced."""

    path: str
    size_bytes: int


Inspect = Callable[[MadeScenario], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class InspectMade:
    """Hands out what inspects, in a limited process, and takes the files away afterwards."""

    blobs: Blobs

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Inspect]:
        """What inspects a scenario and puts the findings into it.

        It raises CallRefused(SCENARIO_INVALID), WrongSize, and BlobMissing for a file that is not stored.
        """
        with tempfile.TemporaryDirectory(prefix="milepost-made-") as directory:
            yield _Inspector(self.blobs, Path(directory)).inspect


class _Inspector:
    def __init__(self, blobs: Blobs, directory: Path) -> None:
        self._blobs = blobs
        self._directory = directory
        self._count = 0
        self._fetching = asyncio.Lock()

    async def inspect(self, made: MadeScenario) -> None:
        self._count += 1
        root = self._directory / f"made-{self._count}"
        contents = {new.file.sha256: new.content for new in made.new_files if new.content is not None}
        try:
            for file in map(file_from_proto, made.scenario.files):
                place = root / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                if file.sha256 in contents:
                    await asyncio.to_thread(_write, place, contents[file.sha256])
                else:
                    os.link(await self._fetched(file.sha256), place)
                    if place.stat().st_size != file.size_bytes:
                        raise WrongSize(file.path, place.stat().st_size)
            inspection = await inspect_limited(root, made.manifest.config_path)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        if inspection.errors or inspection.scene is None:
            raise refusal(ScenarioRejected(*inspection.errors))
        made.scenario.scene.CopyFrom(scene_to_proto(inspection.scene))
        made.scenario.scene.scenario_digest = made.scenario.digest
        del made.scenario.warnings[:]
        made.scenario.warnings.extend(finding_to_proto(finding) for finding in inspection.warnings)

    async def _fetched(self, sha256: str) -> Path:
        path = self._directory / sha256
        async with self._fetching:
            if not path.exists():
                await self._blobs.get_file(sha256, path)
        return path


def _write(place: Path, content: Callable[[], bytes]) -> None:
    place.write_bytes(content())
