"""Clean up, now and then: deleted sessions, earlier runs that may go, blobs that nothing keeps."""

import asyncio
from dataclasses import dataclass, field

import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from event_store.application.collect_garbage import CollectGarbage, Garbage, NotNow
from event_store.application.cut_runs import Cut, CutRuns
from event_store.application.drop_deleted import DropDeleted
from event_store.gateways.blob_folder import ObjectStoreError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one round did, or would do."""

    dropped_logs: int
    cut: Cut
    garbage: Garbage


@dataclass(frozen=True, slots=True)
class CleanUp:
    """One round at a time, whoever asks for it."""

    drop: DropDeleted
    cut: CutRuns
    collect: CollectGarbage
    period_s: float
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(self.period_s)
            try:
                await self.once()
            except NotNow as reason:
                log.info("garbage is collected later", reason=str(reason))
            except (nats.errors.Error, OSError, ObjectStoreError, SQLAlchemyError) as error:
                log.warning("cleaning up goes on later", error=repr(error))

    async def once(self, *, dry_run: bool = False) -> Cleaned:
        """One round. Raises NotNow, and what the broker and the database raise."""
        async with self._turn:
            dropped = 0 if dry_run else await self.drop()
            cut = await self.cut(dry_run=dry_run)
            return Cleaned(dropped, cut, await self.collect(dry_run=dry_run))
