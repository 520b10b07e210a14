"""A batch as the database gives it, and the events in it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from event_store.gateways.event_bytes import decompress, kind_and_payload, kinds_mask, seq_of, split, unpacked_messages
from event_store.gateways.tables import batches, position
from milepost.event.v1.event_pb2 import Event

BatchRow = Row[*tuple[Any, ...]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """How far the broker's stream has been written."""

    epoch: str
    stream_seq: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One stored event. Times are microseconds since 1970, the store's clock and the writer's."""

    log_key: int
    seq: int
    stream_seq: int
    run: int
    attempt: int
    stored_us: int
    encoded: bytes
    """A serialised `Event`."""

    @property
    def kind(self) -> int:
        """Number of its payload's field in `Event`."""
        return kind_and_payload(self.encoded)[0]

    @property
    def payload(self) -> bytes:
        """The bytes its writer made."""
        return kind_and_payload(self.encoded)[1]

    @property
    def event(self) -> Event:
        """As readers get it; parsed anew each time."""
        return Event.FromString(self.encoded)

    @property
    def step(self) -> int:
        """Steps simulated when it became true."""
        return self.event.step

    @property
    def sim_time_s(self) -> float:
        """Simulated time, seconds."""
        return self.event.sim_time_s

    @property
    def record_us(self) -> int:
        """When its writer wrote it."""
        return self.event.record_time.ToMicroseconds()


def rows_of(batch: BatchRow) -> Iterator[EventRow]:
    """The events of a batch."""
    encoded_events = split(decompress(batch.events))
    numbers = unpacked_messages(batch.messages, stream_seq=batch.first_stream_seq, events=batch.event_count)
    for stream_seq, count in numbers:
        for encoded in islice(encoded_events, count):
            yield EventRow(
                batch.log_key, seq_of(encoded), stream_seq, batch.run, batch.attempt, batch.stored_us, encoded
            )


def messages_of(batch: BatchRow) -> list[tuple[int, list[EventRow]]]:
    """Number in the stream and events of each message that is in a batch."""
    return [(number, list(rows)) for number, rows in groupby(rows_of(batch), key=lambda row: row.stream_seq)]


def of_kinds(query: Select[Any], kinds: Collection[int]) -> Select[Any]:
    """Only batches that may hold events of these kinds; all when none is named."""
    return query.where(batches.c.kinds.bitwise_and(kinds_mask(kinds)) != 0) if kinds else query


async def place_of(connection: AsyncConnection) -> Place | None:
    """The position, as a connection sees it."""
    row = (await connection.execute(select(position))).one_or_none()
    return Place(row.epoch, row.stream_seq) if row else None
