"""Collect garbage: blobs that nothing keeps any more (log.md R16).

    everything the broker held at the start is stored ─► manifests read ─► doomed ─► erased

Any doubt (the store is behind, references are still being noted) and nothing is taken this time.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from nats.js import JetStreamContext
from prometheus_client import Counter, Gauge

from event_store.gateways.blob_folder import BlobDamaged, BlobFolder
from event_store.gateways.blob_keeping import BlobKeeping
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import stream_end
from scenario.model import Manifest, ScenarioRejected

log = structlog.get_logger()
_erased = Counter("milepost_erased_blobs_total", "Blobs that nothing kept, erased")
_freed = Counter("milepost_erased_blob_bytes_total", "Content of the blobs erased, before compression")
_unkept = Gauge("milepost_unkept_blobs", "Blobs that nothing kept when last looked for")

# How long a collection waits for ingestion to get where the broker stood at its start, seconds.
LEVEL_WAIT_S = 10.0
_LOOK_S = 0.05
# A manifest of 2,000 files is far smaller than this.
_MANIFEST_MAX_BYTES = 4 * 1024 * 1024


@dataclass(eq=False)
class NotNow(Exception):
    """Nothing can be collected now; the reason, in words."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was erased, or would be."""

    blobs: int
    content_bytes: int
    """Before compression."""


@dataclass(frozen=True, slots=True)
class CollectGarbage:
    """Runs beside uploads, ingestion and reads. Raises what the broker and the database raise."""

    js: JetStreamContext
    rows: EventRows
    keeping: BlobKeeping
    folder: BlobFolder
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    monotonic: Callable[[], float] = field(default=time.monotonic)

    async def __call__(self, *, dry_run: bool = False) -> Garbage:
        """Raises NotNow. With `dry_run` nothing changes but what is known of manifests."""
        now = self.clock()
        if not await self.keeping.all_noted():
            raise NotNow("references of logs stored by the release before are still being noted")
        await self._wait_until_level()
        lost = await self._read_manifests()
        found = await self.keeping.unkept(leased_until=now)
        _unkept.set(len(found))
        garbage = Garbage(len(found), sum(blob.size_bytes for blob in found))
        if dry_run:
            return garbage
        names = [blob.sha256 for blob in found]
        await self.keeping.doom(names, leased_until=now, lost=lost)
        return await self._erase()

    async def _erase(self) -> Garbage:
        # Also what an earlier collection doomed and did not live to erase.
        doomed = await self.folder.doomed()
        count = await self.folder.erase_doomed([blob.sha256 for blob in doomed])
        erased = Garbage(count, sum(blob.size_bytes for blob in doomed))
        _erased.inc(erased.blobs)
        _freed.inc(erased.content_bytes)
        if erased.blobs:
            log.info("garbage collected", blobs=erased.blobs, content_bytes=erased.content_bytes)
        return erased

    async def _wait_until_level(self) -> None:
        """Until all that the broker holds now is stored, and with it every reference."""
        end, deadline = await stream_end(self.js), self.monotonic() + LEVEL_WAIT_S
        while (place := await self.rows.place()) is None or place.stream_seq < end.last_seq:
            if self.monotonic() > deadline:
                raise NotNow("the store is behind the broker")
            await asyncio.sleep(_LOOK_S)
        if place.epoch != end.epoch:
            raise NotNow("the broker's stream is not the one that was stored")

    async def _read_manifests(self) -> set[str]:
        """Learn the files of scenarios that logs name; returns scenarios that are not stored: those are lost.

        Raises NotNow for one that is stored and cannot be read: it may name anything, and so may others.
        """
        lost = set()
        for manifest, stored in (await self.keeping.unread_manifests()).items():
            if not stored:
                lost.add(manifest)
                continue
            try:
                parts = self.folder.get(manifest, offset=0, length=_MANIFEST_MAX_BYTES)
                text = b"".join([part async for part in parts]).decode()
                files = {file.sha256 for file in Manifest.parse(text).files}
            except (FileNotFoundError, BlobDamaged, ScenarioRejected, UnicodeDecodeError) as error:
                raise NotNow(f"manifest {manifest} cannot be read, and may name anything: {error!r}") from error
            await self.keeping.note_files(manifest, files)
        return lost
