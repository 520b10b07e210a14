"""Appending to one session's log under the broker's fence (log.md R1–R3).

    append(records) ── expected = stream sequence of the subject's last message ──► broker
        ack                          → the new place
        10071, first newer is ours   → the new place   (an earlier, unclear publish had landed)
        10071, first newer is not    → LostRace(newer) (the caller folds and decides)
        10071, nothing is newer      → again; LostRace([]) once it lasts (a new leader may not have applied all)
        10164                        → the identical bytes again (a cluster still decides about an earlier one)
        10077, 10023                 → wait, again     (the broker is full: back-pressure, R5)
        no answer                    → the identical bytes again, until there is one

One publish in flight; numbers are given when a batch is encoded for sending. Cancelling an append leaves it
unclear: the writer must not be used again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from nats.js import JetStreamContext
from nats.js.errors import APIError
from prometheus_client import Counter, Histogram

from milepost.event.v1.record_pb2 import EventBatch, Record
from runtime import traces
from runtime.broker import RECONNECT_WAIT_S, REQUEST_TIMEOUT_S, binding, subject
from session_log.broker_log import UNREACHABLE, read_tail
from session_log.codec import BatchHeaders, LogMessage

log = structlog.get_logger()
_append_seconds = Histogram(
    "milepost_append_duration_seconds",
    "From an append to its acknowledgement, however often it was sent",
    # Milliseconds where the broker is well; an election of a cluster takes five seconds and more.
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_unclear = Counter("milepost_unclear_appends_total", "Appends that had to be sent again: no answer, or no verdict yet")
_races = Counter("milepost_lost_races_total", "Appends that were refused because somebody else was first")

# Largest message of the log, bytes: one read of the ingester stays small, and NATS's own limit is 1 MiB.
MAX_BATCH_BYTES = 256 * 1024
# How long to wait before a full broker is asked again, seconds.
FULL_WAIT_S = 0.5

# How long a broker may say that a log ends elsewhere, and show nothing of it, seconds: longer than an election.
BARE_REFUSAL_S = 15.0

_WRONG_LAST_SEQUENCE = 10071
_UNDECIDED = 10164
_SERVER_ERRORS = range(500, 600)
_FULL = frozenset({10077, 10023})
_EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log ends: the broker's sequence number of its last message, and the seq of its last event."""

    stream_seq: int = 0
    seq: int = 0

    def after(self, message: LogMessage) -> "Place":
        """The place once `message` is the last."""
        return Place(stream_seq=message.stream_seq, seq=message.last_seq)


@dataclass(eq=False)
class LostRace(Exception):
    """Somebody else appended first; `newer` are the messages after the place that was expected, in order."""

    newer: list[LogMessage]


@dataclass(eq=False)
class LogFull(Exception):
    """The broker's log is full and the writer was told not to wait."""


class LogWriter:
    """The one who appends to a log from a known place on. `place` moves with every append."""

    def __init__(
        self,
        js: JetStreamContext,
        *,
        tenant: str,
        session_id: str,
        place: Place,
        nonce: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`js` must belong to a connection opened with `appends=True`; `nonce` is unique to this writer."""
        self.place = place
        self._js = js
        self._tenant = tenant
        self._session_id = session_id
        self._subject = subject(EventBatch, tenant=tenant, session=session_id)
        self._nonce = nonce
        self._clock = clock

    async def append(self, records: Sequence[Record], *, run: int, attempt: int, wait_when_full: bool = True) -> Place:
        """Append one batch; returns the place after it.

        Raises LostRace when somebody else was first, LogFull when full and not `wait_when_full`. Waits for as
        long as the broker gives no answer.
        """
        headers = BatchHeaders(
            first_seq=self.place.seq + 1,
            run=run,
            attempt=attempt,
            nonce=self._nonce,
            record_time=self._clock(),
            trace=traces.current(),
        )
        body = EventBatch(records=records).SerializeToString(deterministic=True)
        sent = {**headers.encode(), _EXPECTED_LAST: str(self.place.stream_seq)}
        began = time.perf_counter()
        refused_since: float | None = None
        said = False
        while True:
            try:
                ack = await self._js.publish(
                    self._subject, body, timeout=REQUEST_TIMEOUT_S, stream=binding(EventBatch).stream, headers=sent
                )
            except (APIError, *UNREACHABLE) as error:
                if isinstance(error, APIError) and error.err_code == _WRONG_LAST_SEQUENCE:
                    refused_since = refused_since or time.monotonic()
                    if (place := await self._settled(headers, since=refused_since)) is not None:
                        _append_seconds.observe(time.perf_counter() - began)
                        return place
                elif isinstance(error, APIError) and error.err_code in _FULL:
                    if not wait_when_full:
                        raise LogFull from error
                    log.warning("broker is full", subject=self._subject, error=error.description)
                    await asyncio.sleep(FULL_WAIT_S)
                    continue
                elif not _is_unclear(error):
                    raise
                if not said:
                    _unclear.inc()
                    # Once: a cluster that elects a leader refuses everybody several times a second.
                    log.warning("append is unclear", subject=self._subject, error=repr(error))
                said = True
                await asyncio.sleep(RECONNECT_WAIT_S)
            else:
                _append_seconds.observe(time.perf_counter() - began)
                self.place = Place(stream_seq=ack.seq, seq=self.place.seq + len(records))
                return self.place

    async def _settled(self, sent: BatchHeaders, *, since: float) -> Place | None:
        """After a refusal: was it our own earlier try that stands there? Never asked of a replica (R3).

        None when nothing stands there, as may be while a new leader takes over.
        """
        newer = await read_tail(self._js, self._tenant, self._session_id, after_stream_seq=self.place.stream_seq)
        if newer and newer[0].headers.nonce == self._nonce and newer[0].headers.first_seq == sent.first_seq:
            self.place = self.place.after(newer[0])
            return self.place
        if newer or time.monotonic() - since > BARE_REFUSAL_S:
            _races.inc()
            raise LostRace(newer)
        return None


def _is_unclear(error: Exception) -> bool:
    """Whether an answer says nothing about what became of a publish."""
    return not isinstance(error, APIError) or error.err_code == _UNDECIDED or error.code in _SERVER_ERRORS


def split(records: Sequence[Record]) -> list[list[Record]]:
    """Records in batches of at most MAX_BATCH_BYTES each; a larger single record stands alone."""
    batches: list[list[Record]] = []
    size = 0
    for item in records:
        length = item.ByteSize() + 8
        if not batches or size + length > MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += length
    return batches
