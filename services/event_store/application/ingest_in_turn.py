"""One replica ingests, the others stand by (log.md R11).

    stand by ─ lease is free, or its holder was silent ─► ingest, renew ─ lost it, or the position moved ─► stand by

Two may believe for a moment that it is their turn: the position lets one of them write.
"""

import asyncio
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from event_store.application.ingest import Ingest
from event_store.gateways.event_appends import NotTheIngester
from event_store.gateways.ingest_lease import LEASE_S, IngestLease
from runtime.process import cancel

log = structlog.get_logger()
_ingesting = Gauge("milepost_ingesting", "1 while this process ingests, 0 while it stands by")

# How often the lease is renewed, and how often those who stand by look at it, seconds.
RENEW_S = LEASE_S / 3
STAND_BY_S = 0.5
# How long giving it back may take when this process stops, seconds: it expires anyway.
_RELEASE_S = 1.0


@dataclass(frozen=True, slots=True)
class IngestInTurn:
    """Ingests while this process holds the lease."""

    lease: IngestLease
    ingest: Ingest

    async def __call__(self) -> None:
        """Run until cancelled. Raises EpochChanged."""
        try:
            while True:
                if await self._taken():
                    log.info("ingests")
                    with _ingesting.track_inprogress():
                        await self._while_held()
                    log.info("stands by")
                await asyncio.sleep(STAND_BY_S)
        finally:
            await self._release()

    async def _taken(self) -> bool:
        try:
            return await self.lease.take()
        except SQLAlchemyError as error:
            log.warning("database does not answer", error=repr(error))
            return False

    async def _while_held(self) -> None:
        """Ingest until the lease or the position is another's."""
        ingesting = asyncio.create_task(self.ingest(), name="ingest")
        try:
            while not ingesting.done() and await self._still_held():
                await asyncio.wait({ingesting}, timeout=RENEW_S)
        finally:
            await cancel(ingesting)
        if not ingesting.cancelled():
            try:
                ingesting.result()
            except NotTheIngester:
                log.warning("another process has moved the position")

    async def _still_held(self) -> bool:
        try:
            return await self.lease.renew()
        except SQLAlchemyError as error:
            # Nobody else can have taken it: they ask the same database.
            log.warning("database does not answer", error=repr(error))
            return True

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self.lease.release()
        except (TimeoutError, SQLAlchemyError) as error:
            log.info("the lease is left to expire", error=repr(error))
