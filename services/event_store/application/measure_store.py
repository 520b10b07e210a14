"""Measure the store: how many blobs it keeps, and how large they are."""

import asyncio
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from event_store.gateways.blob_keeping import BlobKeeping

log = structlog.get_logger()
_blobs = Gauge("milepost_blobs", "Blobs that are kept")
_blob_bytes = Gauge("milepost_blob_bytes", "Content of the blobs that are kept, before compression")

# How often it is counted, seconds: a scan of a table with one row per blob.
PERIOD_S = 30.0


@dataclass(frozen=True, slots=True)
class MeasureStore:
    """Counts for ever. Every replica counts the same."""

    keeping: BlobKeeping

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                count, size_bytes = await self.keeping.total()
                _blobs.set(count)
                _blob_bytes.set(size_bytes)
            except SQLAlchemyError as error:
                log.warning("blobs are counted later", error=repr(error))
            await asyncio.sleep(PERIOD_S)
