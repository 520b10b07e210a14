"""Heads of the logs somebody watches: one query for all every second, and at once for those that have grown.

Notices are wake-ups, not truth (log.md R12): what a watcher believes comes from this query alone.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import nats.errors
import structlog
from google.protobuf.duration_pb2 import Duration
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from event_store.gateways.event_appends import Committed
from event_store.gateways.event_rows import EventRows, Head, Place
from event_store.gateways.log_stream import received_time, stream_end
from milepost.dispatch.v1.dispatch_pb2 import CommittedNotice
from runtime.broker import jetstream, subject, tokens_of
from runtime.traces import TRACEPARENT

log = structlog.get_logger()
_watched_logs = Gauge("milepost_watched_logs", "Logs somebody watches")
_lag = Gauge("milepost_ingest_lag_seconds", "How far the store is behind the broker; -1 when unknown")
_lag_messages = Gauge("milepost_ingest_lag_messages", "Messages of the broker's stream beyond what is stored, at most")
_read_at = Gauge("milepost_heads_read_timestamp_seconds", "When this replica read the heads of watched logs, Unix time")

# How often all heads are read, seconds.
POLL_S = 1.0
# The least time between two reads, seconds: what is given up in latency to share one query among many logs.
_GATHER_S = 0.005

Key = tuple[str, str]


class Stored(NamedTuple):
    """Intervals that were stored, for those who trace."""

    trace: str
    """The span of it, a `traceparent`."""
    head_seq: int
    at_ns: int
    """When this process knew, of `time.time_ns`."""


@dataclass(slots=True, eq=False)
class WatchedLog:
    """A log's head as last read, and whom to kick when it moves."""

    key: Key
    head: Head | None = None
    kicks: set[asyncio.Event] = field(default_factory=set)
    stored: Stored | None = None
    """The last intervals that were stored while somebody watched, and traced."""
    gone: bool = False
    """The log was there, and was dropped: its session was deleted for good."""

    def lost(self) -> None:
        """The head was not found: that means something once one was seen."""
        if self.head is not None and not self.gone:
            self.gone = True
            self._kick()

    def seen(self, head: Head) -> None:
        """Somebody read the head: kick all if it moved. Looks may overlap; the head never goes back."""
        if self.head is None or (head != self.head and head.head_seq >= self.head.head_seq):
            self.head = head
            self._kick()

    def _kick(self) -> None:
        for kick in self.kicks:
            kick.set()


class Heads:
    """Keeps the heads of watched logs level with the database."""

    def __init__(self, rows: EventRows, broker: Client) -> None:
        self.ingest_lag_s: float | None = None
        """How far the store is behind the broker; None while the broker does not answer, or is another one."""
        self._rows = rows
        self._broker = broker
        self._place: Place | None = None
        self._watched: dict[Key, WatchedLog] = {}
        self._wake = asyncio.Event()
        # Watched logs that may have grown since the last read.
        self._grown: set[Key] = set()
        self._followers: set[asyncio.Event] = set()

    @contextlib.contextmanager
    def watching(self, key: Key, kick: asyncio.Event) -> Iterator[WatchedLog]:
        """Keep a log's head level while the body runs; `kick` is set whenever it moves."""
        watched = self._watched.setdefault(key, WatchedLog(key))
        watched.kicks.add(kick)
        self._look_at(key)
        _watched_logs.set(len(self._watched))
        try:
            yield watched
        finally:
            watched.kicks.discard(kick)
            if not watched.kicks:
                self._watched.pop(key, None)
            _watched_logs.set(len(self._watched))

    @contextlib.contextmanager
    def following_all(self, kick: asyncio.Event) -> Iterator[None]:
        """Set `kick` whenever anything was stored, while the body runs."""
        self._followers.add(kick)
        try:
            yield
        finally:
            self._followers.discard(kick)

    @property
    def watched(self) -> bool:
        """Whether anybody watches any log here."""
        return bool(self._watched)

    def watchers(self, key: Key) -> int:
        """How many watch a log here."""
        watched = self._watched.get(key)
        return len(watched.kicks) if watched else 0

    def lag(self) -> Duration | None:
        """`ingest_lag_s`, for an answer."""
        if self.ingest_lag_s is None:
            return None
        lag = Duration()
        lag.FromMicroseconds(int(self.ingest_lag_s * 1e6))
        return lag

    def wake(self, grown: Sequence[Committed]) -> None:
        """Something was stored by this process."""
        for item in grown:
            if (watched := self._watched.get((item.tenant, item.session_id))) is not None:
                if item.trace:
                    watched.stored = Stored(item.trace, item.head_seq, time.time_ns())
                self._look_at(watched.key)
        for kick in self._followers:
            kick.set()

    def kick_all(self) -> None:
        """Let every watcher look around: this server stops."""
        for watched in self._watched.values():
            for kick in watched.kicks:
                kick.set()
        for kick in self._followers:
            kick.set()

    async def listen(self) -> None:
        """Hear what other replicas have stored, for as long as the connection lives."""
        await self._broker.subscribe(subject(CommittedNotice, tenant="*", session="*"), cb=self._on_notice)

    async def _on_notice(self, message: Msg) -> None:
        tokens = tokens_of(CommittedNotice, message.subject)
        notice = CommittedNotice.FromString(message.data)
        trace = (message.headers or {}).get(TRACEPARENT, "")
        self.wake([Committed(tokens["tenant"], tokens["session"], notice.head_seq, trace)])

    async def keep_level(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        all_due = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(all_due):
                    await self._wake.wait()
            self._wake.clear()
            keys, self._grown = self._grown, set()
            if loop.time() >= all_due:
                all_due = loop.time() + POLL_S
                keys = set(self._watched)
            try:
                await self._read(keys)
                _read_at.set_to_current_time()
            except SQLAlchemyError as error:
                log.warning("heads cannot be read", error=repr(error))
            await asyncio.sleep(_GATHER_S)

    def _look_at(self, key: Key) -> None:
        self._grown.add(key)
        self._wake.set()

    async def _read(self, keys: Collection[Key]) -> None:
        """One query; kicks whoever watches a log that moved."""
        found = await self._rows.heads(keys) if keys else {}
        for key in keys:
            # Nobody may watch it any more.
            if (watched := self._watched.get(key)) is None:
                continue
            if key in found:
                watched.seen(found[key])
            else:
                watched.lost()

    async def measure_lag(self) -> None:
        """Compare the position with the broker's stream, every second until cancelled."""
        while True:
            try:
                self.ingest_lag_s = await self._measured_lag_s(jetstream(self._broker))
            except (nats.errors.Error, OSError, SQLAlchemyError):
                self.ingest_lag_s = None
            _lag.set(-1 if self.ingest_lag_s is None else self.ingest_lag_s)
            await asyncio.sleep(POLL_S)

    async def _measured_lag_s(self, js: JetStreamContext) -> float | None:
        """Age of the oldest message that is not stored; the broker is asked first, so level means level."""
        end = await stream_end(js)
        try:
            place = self._place = await self._rows.place()
        except SQLAlchemyError:
            # The database is away, and what it holds still is what it held.
            place = self._place
        if place is None or place.epoch != end.epoch:
            return None
        _lag_messages.set(max(0, end.last_seq - place.stream_seq))
        if place.stream_seq >= end.last_seq:
            return 0.0
        oldest = await received_time(js, after=place.stream_seq)
        return 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())
