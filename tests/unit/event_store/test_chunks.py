"""Chunks of a log: whatever was appended, and however watchers ask, each gets every event once and in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncEngine

from event_store.application.chunks import CHUNK_BYTES, CHUNK_EVENTS, Chunks
from event_store.gateways.event_appends import EventAppends
from event_store.gateways.event_rows import EventRows, Head
from event_store.gateways.log_stream import StreamMessage
from event_store.main import MIGRATIONS
from milepost.event.v1.event_pb2 import EventKind, IntervalClosed, LogLine
from milepost.event.v1.event_service_pb2 import WatchEventsResponse
from milepost.event.v1.record_pb2 import EventBatch, Record
from runtime.database import open_database
from session_log.codec import BatchHeaders, LogMessage, record

LINE, INTERVAL = EventKind.EVENT_KIND_LOG_LINE, EventKind.EVENT_KIND_INTERVAL_CLOSED
MIB = 1024 * 1024
# One append: how many events, how large, of which kind.
APPENDS = st.lists(
    st.tuples(st.sampled_from([1, 3, 700, 2500]), st.sampled_from([0, 300]), st.sampled_from([LINE, INTERVAL])),
    min_size=1,
    max_size=4,
)
KINDS = st.sets(st.sampled_from([LINE, INTERVAL, EventKind.EVENT_KIND_SESSION_FAILED]))
# One watcher: after how many appends it comes, from where, and what it wants.
WATCHERS = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), KINDS), min_size=1, max_size=5)


class Stored:
    """A database and one new log at a time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.rows = EventRows(engine)
        self._appends = EventAppends(engine, asyncio.Lock())
        self._logs = 0
        self._stream_seq = 0

    def new_log(self) -> str:
        self._logs += 1
        return f"s{self._logs}"

    async def append(self, session_id: str, first_seq: int, records: list[Record]) -> Head:
        place = await self._appends.place("epoch")
        headers = BatchHeaders(first_seq, 1, 1, "nonce", datetime.now(UTC))
        message = LogMessage(place.stream_seq + 1, headers, EventBatch(records=records))
        written = await self._appends.append(
            [StreamMessage("t", session_id, message.stream_seq, message)], place=place, stored=datetime.now(UTC)
        )
        assert not written.broken
        head = await self.rows.head("t", session_id)
        assert head is not None
        return head


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Stored]]:
    """One database for all examples: each writes a log of its own."""
    path: Path = tmp_path_factory.mktemp("chunks") / "events.db"
    database = open_database(f"sqlite+aiosqlite:///{path}", migrations=MIGRATIONS)
    with asyncio.Runner() as runner:
        engine = runner.run(database.__aenter__())
        yield runner, Stored(engine)
        runner.run(database.__aexit__(None, None, None))


def some(kind: int, count: int, size_bytes: int) -> list[Record]:
    payload = LogLine(text="x" * size_bytes) if kind == LINE else IntervalClosed(state_digest=b"x" * size_bytes)
    return [record(payload, step=n) for n in range(count)]


class Watcher:
    """Asks for one chunk after the other; `got` is (seq, kind) of each event."""

    def __init__(self, cursor: int, kinds: frozenset[int] = frozenset()) -> None:
        self.began = self.cursor = cursor
        self.kinds = kinds
        self.got: list[tuple[int, int]] = []

    async def catch_up(self, chunks: Chunks, session_id: str, head: Head) -> None:
        while self.cursor < head.head_seq:
            chunk = await chunks.get(
                session_id, head.log_key, after=self.cursor, head_seq=head.head_seq, kinds=self.kinds
            )
            assert chunk.last_seq > self.cursor
            assert len(chunk.response) < MIB
            found = WatchEventsResponse.FromString(chunk.response).events.events
            assert len(found) <= CHUNK_EVENTS
            assert all(self.cursor < event.seq <= chunk.last_seq for event in found)
            self.got += [(event.seq, LINE if event.HasField("log_line") else INTERVAL) for event in found]
            self.cursor = chunk.last_seq
        assert self.cursor == head.head_seq


@settings(max_examples=12, deadline=None)
@given(appends=APPENDS, watchers=WATCHERS)
def test_every_watcher_gets_every_event_it_wants_once_and_in_order(
    opened: tuple[asyncio.Runner, Stored], appends: list, watchers: list
) -> None:
    runner, stored = opened

    async def example() -> None:
        session_id, chunks = stored.new_log(), Chunks(stored.rows)
        seen: list[tuple[int, int]] = []
        there: list[Watcher] = []
        for number, (count, size_bytes, kind) in enumerate(appends):
            head = await stored.append(session_id, len(seen) + 1, some(kind, count, size_bytes))
            seen += [(len(seen) + 1 + n, kind) for n in range(count)]
            there += [
                Watcher(int(where * len(seen)), frozenset(kinds)) for comes, where, kinds in watchers if comes == number
            ]
            # All who are there ask at once, as they do when a log grows.
            await asyncio.gather(*(watcher.catch_up(chunks, session_id, head) for watcher in there))
            for watcher in there:
                after = [item for item in seen if item[0] > watcher.began]
                assert watcher.got == [item for item in after if not watcher.kinds or item[1] in watcher.kinds]

    runner.run(example())


def made() -> float:
    return REGISTRY.get_sample_value("milepost_watch_chunks_made_total") or 0.0


def test_history_is_read_once_for_all_who_come_late_though_the_log_grows(
    opened: tuple[asyncio.Runner, Stored],
) -> None:
    runner, stored = opened

    async def example() -> None:
        session_id, chunks = stored.new_log(), Chunks(stored.rows)
        head = await stored.append(session_id, 1, some(LINE, 3 * CHUNK_EVENTS + 1, 0))
        await Watcher(0).catch_up(chunks, session_id, head)
        before = made()
        for n in range(5):
            head = await stored.append(session_id, head.head_seq + 1, some(INTERVAL, 1, 0))
            late = Watcher(0)
            await late.catch_up(chunks, session_id, head)
            assert len(late.got) == head.head_seq
            # Only what the log grew by is read.
            assert made() == before + n + 1

    runner.run(example())


def test_a_watcher_that_leaves_does_not_take_the_chunk_from_the_others(
    opened: tuple[asyncio.Runner, Stored],
) -> None:
    runner, stored = opened

    async def example() -> None:
        session_id, chunks = stored.new_log(), Chunks(stored.rows)
        head = await stored.append(session_id, 1, some(LINE, 2000, 300))

        before = made()
        staying = Watcher(0)
        leaving = asyncio.create_task(Watcher(0).catch_up(chunks, session_id, head))
        reading = asyncio.create_task(staying.catch_up(chunks, session_id, head))
        await asyncio.sleep(0)
        leaving.cancel()
        await reading
        assert len(staying.got) == 2000
        assert leaving.cancelled()
        assert made() - before == -(-2000 * 300 // CHUNK_BYTES)

    runner.run(example())


async def test_a_page_is_cut_by_bytes_before_it_is_in_memory(engine: AsyncEngine) -> None:
    stored = Stored(engine)
    head = await stored.append("large", 1, some(LINE, 200, 100_000))
    for limit_bytes, expected in ((1, 1), (100_000, 1), (250_000, 2), (10**9, 200)):
        for descending in (False, True):
            page = await stored.rows.read(
                head.log_key, after=0, upto=200, limit=1000, limit_bytes=limit_bytes, descending=descending
            )
            assert (len(page.rows), page.complete) == (expected, expected == 200)
            assert page.rows[0].seq == (200 if descending else 1)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path / 'events.db'}", migrations=MIGRATIONS) as opened_engine:
        yield opened_engine
