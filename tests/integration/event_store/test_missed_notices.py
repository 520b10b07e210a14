"""Notices are wake-ups, not truth (log.md R12): what nobody told of is seen all the same, within a second or two."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from running_store import PATIENCE_S, lines

from broker import Broker
from event_store.application.heads import Heads
from event_store.gateways.event_appends import Committed, EventAppends
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import StreamMessage
from event_store.main import MIGRATIONS
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import connect
from runtime.database import open_database
from session_log.codec import BatchHeaders, LogMessage


async def test_what_another_process_stored_without_a_word_is_seen(broker: Broker, tmp_path: Path) -> None:
    client = await connect(broker.url, name="test")
    async with open_database(f"sqlite+aiosqlite:///{tmp_path / 'events.db'}", migrations=MIGRATIONS) as engine:
        appends = EventAppends(engine, asyncio.Lock())
        heads = Heads(EventRows(engine), client)
        keeping = asyncio.create_task(heads.keep_level())
        kick = asyncio.Event()

        async def store(session_id: str, seq: int) -> None:
            place = await appends.place("epoch")
            headers = BatchHeaders(seq, 1, 1, "nonce", datetime.now(UTC))
            message = LogMessage(place.stream_seq + 1, headers, EventBatch(records=lines("a")))
            found = StreamMessage("t", session_id, message.stream_seq, message)
            await appends.append([found], place=place, stored=datetime.now(UTC))

        with heads.watching(("t", "quiet"), kick) as quiet, heads.watching(("t", "loud"), asyncio.Event()) as loud:
            async with asyncio.timeout(PATIENCE_S):
                for seq in range(1, 4):
                    await store("quiet", seq)
                    while quiet.head is None or quiet.head.head_seq < seq:
                        # Others are told of all the time: that must not keep it from looking around.
                        heads.wake([Committed("t", "loud", seq)])
                        await asyncio.sleep(0.01)
                    assert kick.is_set()
                    kick.clear()
            assert loud.head is None
        keeping.cancel()
    await client.close()
