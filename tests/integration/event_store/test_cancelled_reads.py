"""Reads that are broken off, wherever they stand: no connection is lost to the pool."""

import asyncio
import gc
import time
import warnings
from pathlib import Path

from databases import url_of
from event_store.gateways.event_rows import EventRows
from event_store.main import MIGRATIONS
from runtime.database import open_database

# A read is broken off at each of so many moments of the time it takes, several at once.
MOMENTS, AT_ONCE = 150, 3


async def test_a_read_that_is_broken_off_gives_its_connection_back(tmp_path: Path) -> None:
    async with open_database(url_of(tmp_path / "events.db"), migrations=MIGRATIONS) as engine:
        rows = EventRows(engine)

        def read() -> list[asyncio.Task[object]]:
            return [asyncio.create_task(rows.heads([("tenant", "s")])) for _ in range(AT_ONCE)]

        await asyncio.gather(*read())
        began = time.monotonic()
        await asyncio.gather(*read())
        took_s = time.monotonic() - began
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for moment in range(MOMENTS):
                reading = read()
                await asyncio.sleep(took_s * moment / MOMENTS)
                for one in reading:
                    one.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
            # The connections are all there, and nobody has to collect one.
            await asyncio.gather(*read())
            gc.collect()
        assert [str(one.message) for one in told] == []
