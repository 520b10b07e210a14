"""What session_api makes of the store's events, beside what it takes to store them: who falls behind?

    python -m bench.projection

The same events, in the same portions, into one PostgreSQL: appended by the ingester's code, and applied by the feed's
to the projection of sessions. Catching up, a portion is as large as a message of the feed; live, it holds an event of
each session.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tests.databases import Postgres

from bench.lines import told
from event_store.gateways.event_appends import EventAppends
from event_store.gateways.log_stream import StreamMessage
from event_store.main import MIGRATIONS as STORE
from milepost.event.v1.event_pb2 import AttemptClaimed, Event, IntervalClosed, RunStarted, SessionCreated
from milepost.event.v1.event_service_pb2 import Position, StoredEvent, WatchAllEventsResponse
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Scene
from runtime.database import open_database
from session_api.gateways.sessions_sql import Sessions
from session_api.main import MIGRATIONS as API
from session_log.codec import BatchHeaders, LogMessage, events, record

SESSIONS = 50
INTERVALS = 400
# Events of a portion: of each session one, and what the store sends in a message.
LIVE_EVENTS, PAGE_EVENTS = SESSIONS, 1000
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def measure() -> None:
    """Print the figures."""
    server = Postgres("postgresql18").start()
    try:
        for title, size in ((f"live, {SESSIONS} sessions at once", LIVE_EVENTS), ("catching up", PAGE_EVENTS)):
            portions = list(_portions(size))
            stored = await _store(server, f"store_{size}", portions)
            applied = await _apply(server, f"api_{size}", portions)
            told(f"{title}: ingestion", f"{stored:,.0f} events/s")
            told("… projection", f"{applied:,.0f} events/s")
            told("… against ingestion", f"{applied / stored:.2f}")
    finally:
        server.remove()


def _records() -> list[Record]:
    """The log of a session, short of its end."""
    began = [
        record(SessionCreated(display_name="d", pool="p", auto_start=True, scene=Scene(end_time_s=1e6))),
        record(AttemptClaimed(attempt=1, worker_id="w")),
        record(RunStarted(step_length_s=1)),
    ]
    intervals = (
        record(IntervalClosed(kpis=Kpis(departed=n, running=n % 300), state_digest=n.to_bytes(16, "big")), step=10 * n)
        for n in range(INTERVALS)
    )
    return [*began, *intervals]


def _portions(size: int) -> Iterator[list[StreamMessage]]:
    """Messages of the stream, the sessions in turn, so many events at a time."""
    records, portion, each = _records(), list[StreamMessage](), size // SESSIONS
    for first in range(0, len(records), each):
        for session in range(SESSIONS):
            batch = EventBatch(records=records[first : first + each])
            number = first * SESSIONS + session + 1
            headers = BatchHeaders(first + 1, 1, 1 if first else 0, "nonce", _NOW)
            portion.append(StreamMessage("t", f"s{session}", number, LogMessage(number, headers, batch)))
        yield portion
        portion = []


async def _store(server: Postgres, name: str, portions: Sequence[Sequence[StreamMessage]]) -> float:
    server.execute(f"create database {name}")
    async with open_database(server.url(name), migrations=STORE) as engine:
        appends = EventAppends(engine, asyncio.Lock())
        place = await appends.place("epoch")
        began = time.perf_counter()
        for portion in portions:
            place = (await appends.append(portion, place=place, stored=_NOW)).place
        return _count(portions) / (time.perf_counter() - began)


async def _apply(server: Postgres, name: str, portions: Sequence[Sequence[StreamMessage]]) -> float:
    server.execute(f"create database {name}")
    messages = [_as_sent(portion).SerializeToString() for portion in portions]
    async with open_database(server.url(name), migrations=API) as engine:
        sessions = Sessions(engine)
        began = time.perf_counter()
        for message in messages:
            response = WatchAllEventsResponse.FromString(message)
            found: list[tuple[str, Event]] = [(stored.tenant, stored.event) for stored in response.events]
            await sessions.apply(found, position=response.position)
        return _count(portions) / (time.perf_counter() - began)


def _as_sent(portion: Sequence[StreamMessage]) -> WatchAllEventsResponse:
    """A portion as the store sends it."""
    return WatchAllEventsResponse(
        events=[
            StoredEvent(tenant=item.tenant, event=event, stream_seq=item.stream_seq)
            for item in portion
            if item.message is not None
            for event in events(item.session_id, item.message)
        ],
        position=Position(epoch="epoch", stream_seq=portion[-1].stream_seq),
    )


def _count(portions: Sequence[Sequence[StreamMessage]]) -> int:
    return sum(len(item.message.batch.records) for portion in portions for item in portion if item.message is not None)


if __name__ == "__main__":
    asyncio.run(measure())
