"""Ingest: write the broker's stream to the database, in its order, exactly once (log.md R11).

place in database ─► read_stream ─► append (rows, heads, place: one transaction) ─► wake the watchers
▲                                   │
└──────── any doubt or failure ─────┘
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import nats.errors
import structlog
from nats.aio.client import Client
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError

from event_store.application.commit_pace import CommitPace
from event_store.application.trace_ingestion import trace_ingestion
from event_store.gateways.batches import Place
from event_store.gateways.event_appends import Committed, EventAppends, LogBroken
from event_store.gateways.log_stream import BATCH_EVENTS, StreamDoubt, StreamMessage, read_stream, stream_end
from milepost.dispatch.v1.dispatch_pb2 import CommittedNotice
from runtime.broker import jetstream, subject
from runtime.traces import TRACEPARENT

log = structlog.get_logger()
_ingested = Counter("milepost_ingested_events_total", "Events written to the database")
_stored_bytes = Counter("milepost_stored_event_bytes_total", "Bytes those events take in the database, compressed")
_bytes_per_event = Gauge("milepost_stored_bytes_per_event", "Bytes an event takes, in the last transaction")
_broken = Counter("milepost_broken_messages_total", "Messages left out because they break their log")
_position = Gauge("milepost_ingest_position", "Sequence number of the last message written")

# How long to wait before beginning again, seconds.
RETRY_WAIT_S = 0.5


class EpochChanged(Exception):
    """The broker's stream is not the one that was ingested, or lost its end: its numbers mean something else."""


@dataclass(frozen=True, slots=True)
class Ingest:
    """The one writer of events."""

    broker: Client
    appends: EventAppends
    wake: Callable[[Sequence[Committed]], None]
    pace: CommitPace = field(default_factory=CommitPace)
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self) -> None:
        """Run until cancelled. Raises EpochChanged and NotTheIngester; everything else is tried again."""
        while True:
            try:
                await self._once()
            except StreamDoubt as doubt:
                log.info("reading the stream again", doubt=str(doubt))
            except (nats.errors.Error, OSError) as error:
                log.warning("broker does not answer", error=repr(error))
            except SQLAlchemyError as error:
                log.warning("database does not answer", error=repr(error))
            await asyncio.sleep(RETRY_WAIT_S)

    async def _once(self) -> None:
        place = await self.appends.place((await stream_end(jetstream(self.broker))).epoch)
        # Asked after the place was read: meanwhile another process may have stored more.
        end = await stream_end(jetstream(self.broker))
        if place.epoch != end.epoch or place.stream_seq > end.last_seq:
            log.error("the broker's stream is not what was stored", stored=str(place), found=str(end))
            raise EpochChanged
        async with contextlib.aclosing(read_stream(self.broker, after=place.stream_seq)) as batches:
            async for messages in batches:
                began = self.pace.monotonic()
                place = await self._write(messages, place)
                await asyncio.sleep(self.pace.rest_s(began, more=_events(messages) >= BATCH_EVENTS))

    async def _write(self, messages: Sequence[StreamMessage], place: Place) -> Place:
        began_ns = time.time_ns()
        written = await self.appends.append(messages, place=place, stored=self.clock())
        grown = trace_ingestion(messages, written.grown, since_ns=began_ns)
        _ingested.inc(written.events)
        _stored_bytes.inc(written.stored_bytes)
        if written.events:
            _bytes_per_event.set(written.stored_bytes / written.events)
        _position.set(written.place.stream_seq)
        for failure in written.broken:
            self._report(failure)
        self.wake(grown)
        await self._notify(grown)
        return written.place

    async def _notify(self, grown: Sequence[Committed]) -> None:
        """Wake the other replicas; best effort, they look for themselves every second (R12)."""
        for item in grown:
            notice = CommittedNotice(head_seq=item.head_seq)
            name = subject(CommittedNotice, tenant=item.tenant, session=item.session_id)
            headers = {TRACEPARENT: item.trace} if item.trace else None
            await self.broker.publish(name, notice.SerializeToString(), headers=headers)

    def _report(self, failure: LogBroken) -> None:
        _broken.inc()
        log.error(
            "a message breaks its log and is left out",
            tenant=failure.tenant,
            session=failure.session_id,
            expected_seq=failure.expected_seq,
            first_seq=failure.first_seq,
        )


def _events(messages: Sequence[StreamMessage]) -> int:
    return sum(len(item.message.batch.records) for item in messages if item.message is not None)
