"""A log that has just begun is read from the broker alone: its store may not have heard of it yet (log.md R15)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from running_store import Log, Store, created, lines

from broker import running_broker
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from runtime.settings import DEFAULT_TENANT
from session_log.broker_log import YOUNG_EVENTS
from session_log.reader import LogReader, UnknownSession

pytestmark = pytest.mark.any_database


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[JetStreamContext]:
    """A broker whose logs the store never hears of."""
    async with running_broker(tmp_path / "elsewhere") as broker:
        client = await connect(broker.url, name="test", appends=True)
        context = jetstream(client)
        await ensure_streams(context)
        yield context
        await disconnect(client)


async def test_what_has_just_begun_is_read_without_the_store(store: Store, elsewhere: JetStreamContext) -> None:
    log = Log(elsewhere, "young")
    await log.append(created(), *lines(*"abc"))
    await log.append(*lines("d"))

    read = await LogReader(store.events, elsewhere).read(DEFAULT_TENANT, log.session_id)

    assert (read.place.seq, read.first_run) == (5, 1)
    assert read.created.tenant == DEFAULT_TENANT


async def test_what_has_grown_or_lost_its_beginning_is_the_stores(store: Store, elsewhere: JetStreamContext) -> None:
    long, cut = Log(elsewhere, "long"), Log(elsewhere, "cut")
    await long.append(created(), *lines(*"x" * YOUNG_EVENTS))
    await long.append(*lines("beyond"))
    await cut.append(created())
    await cut.append(*lines("a"))
    await elsewhere.purge_stream("SESSIONS", subject=f"milepost.log.{DEFAULT_TENANT}.{cut.session_id}", keep=1)

    for log in (long, cut):
        with pytest.raises(UnknownSession):
            await LogReader(store.events, elsewhere).read(DEFAULT_TENANT, log.session_id)
