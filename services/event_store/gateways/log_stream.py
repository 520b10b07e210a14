"""The broker's stream of all logs, read in order from a position, without acknowledgements (log.md R11).

A pull consumer that lives in memory, and requests of bounded size: the broker never sends more than was asked
for, so nothing is dropped here. Any doubt (a gap in the consumer's own numbering, missing heartbeats, the
consumer gone after a restart) ends the iteration; the reader begins again at the position in the database.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import binding, subject, tokens_of
from session_log.codec import BatchHeaders, LogMessage

# What one request may bring.
REQUEST_MESSAGES = 1000
REQUEST_BYTES = 16 * 1024 * 1024
# About how many events make a batch: a transaction of them takes some 50 ms, and delays whoever waits for it.
BATCH_EVENTS = 4000
# How long one request stands, seconds; the broker says that it is there every HEARTBEAT_S meanwhile.
REQUEST_S = 10.0
HEARTBEAT_S = 1.0
# The broker forgets a consumer nobody asks after this long, seconds.
_INACTIVE_S = 60.0
_NANO = 1_000_000_000
# Status messages: the broker is there; the request's time is over; it brought what it could, in messages or bytes.
_HEARTBEAT = "100"
_REQUEST_ENDED = ("404", "408")
_REQUEST_FULL = ("Batch Completed", "Message Size Exceeds MaxBytes")
_STREAM = binding(EventBatch).stream


class StreamDoubt(Exception):
    """Something may have been missed: begin again at what is stored."""


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """A message of the stream and whose log it belongs to; `message` is None when it is no batch of ours."""

    tenant: str
    session_id: str
    stream_seq: int
    message: LogMessage | None


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The incarnation of the stream (when it was created) and the sequence number of its last message."""

    epoch: str
    last_seq: int


async def stream_end(js: JetStreamContext) -> StreamEnd:
    """Raises nats.errors.Error."""
    info = await js.stream_info(_STREAM)
    return StreamEnd(str(info.created), info.state.last_seq)


async def received_time(js: JetStreamContext, *, after: int) -> datetime | None:
    """When the broker received the first message after a sequence number. Raises nats.errors.Error."""
    try:
        every = subject(EventBatch, tenant="*", session="*")
        return (await js.get_msg(_STREAM, seq=after + 1, subject=every, next=True)).time
    except NotFoundError:
        return None


async def last_seq_of(js: JetStreamContext, tenant: str, session_id: str) -> int:
    """Seq of the last event the broker holds of a log; 0 when that is no batch of ours.

    Raises NotFoundError when it holds none, ValueError when these are no names, nats.errors.Error.
    """
    name = subject(EventBatch, tenant=tenant, session=session_id)
    last = await js.get_msg(_STREAM, subject=name)
    message = decoded(name, last.seq or 0, last.headers, last.data or b"").message
    return message.last_seq if message else 0


async def read_stream(broker: Client, *, after: int) -> AsyncGenerator[list[StreamMessage], None]:
    """Batches of what has arrived, in order, about BATCH_EVENTS at most. Raises StreamDoubt, nats.errors.Error."""
    js = broker.jetstream()
    inbox = broker.new_inbox()
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await broker.subscribe(f"{inbox}.*", cb=arrived.put, pending_msgs_limit=-1, pending_bytes_limit=-1)
    try:
        consumer = await js.add_consumer(
            _STREAM,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=after + 1,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=_INACTIVE_S,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        reader = _Reader(broker, f"$JS.API.CONSUMER.MSG.NEXT.{_STREAM}.{consumer.name}", inbox, arrived)
        while True:
            yield await reader.batch()
    finally:
        await _quietly_unsubscribe(subscription)


class _Reader:
    def __init__(self, broker: Client, ask_subject: str, inbox: str, arrived: asyncio.Queue[Msg]) -> None:
        self._broker = broker
        self._ask_subject = ask_subject
        self._inbox = inbox
        self._arrived = arrived
        self._consumer_seq = 0
        # Messages the standing request may still bring; 0: no request stands.
        self._open = 0
        self._asked = 0
        # Events of the batch that is being put together.
        self._taken = 0

    async def batch(self) -> list[StreamMessage]:
        """What has arrived, at least one message."""
        messages: list[StreamMessage] = []
        self._taken = 0
        while not messages:
            if not self._open:
                await self._ask()
            try:
                async with asyncio.timeout(3 * HEARTBEAT_S):
                    self._take(await self._arrived.get(), messages)
            except TimeoutError as error:
                raise StreamDoubt("no heartbeat") from error
            while not self._arrived.empty() and self._taken < BATCH_EVENTS:
                self._take(self._arrived.get_nowait(), messages)
        return messages

    async def _ask(self) -> None:
        request = {
            "batch": REQUEST_MESSAGES,
            "max_bytes": REQUEST_BYTES,
            "expires": int(REQUEST_S * _NANO),
            "idle_heartbeat": int(HEARTBEAT_S * _NANO),
        }
        self._asked += 1
        self._open = REQUEST_MESSAGES
        await self._broker.publish(self._ask_subject, json.dumps(request).encode(), reply=self._reply)

    @property
    def _reply(self) -> str:
        """Each request has a reply subject of its own: the end of an earlier one says nothing about it."""
        return f"{self._inbox}.{self._asked}"

    def _take(self, received: Msg, messages: list[StreamMessage]) -> None:
        status = (received.headers or {}).get("Status")
        if status is not None:
            self._take_status(status, received)
            return
        meta = received.metadata
        self._consumer_seq += 1
        self._open = max(0, self._open - 1)
        if meta.sequence.consumer != self._consumer_seq:
            raise StreamDoubt(f"consumer sequence {meta.sequence.consumer}, expected {self._consumer_seq}")
        message = decoded(received.subject, meta.sequence.stream, received.headers, received.data)
        self._taken += len(message.message.batch.records) if message.message else 1
        messages.append(message)

    def _take_status(self, status: str, received: Msg) -> None:
        description = (received.headers or {}).get("Description", "")
        if status == _HEARTBEAT or received.subject != self._reply:
            return
        if status not in _REQUEST_ENDED and not (status == "409" and description.startswith(_REQUEST_FULL)):
            raise StreamDoubt(f"status {status}: {description}")
        self._open = 0


def decoded(name: str, stream_seq: int, headers: Mapping[str, str] | None, content: bytes) -> StreamMessage:
    """A message as the broker holds it. What is no batch of ours must not stop those who read past it."""
    try:
        tokens = tokens_of(EventBatch, name)
        message = LogMessage(stream_seq, BatchHeaders.decode(headers or {}), EventBatch.FromString(content))
        if message.headers.first_seq < 1 or not message.batch.records:
            raise ValueError("no records, or numbers from nowhere")
    except (KeyError, ValueError, DecodeError):
        return StreamMessage(tenant="", session_id=name, stream_seq=stream_seq, message=None)
    return StreamMessage(tokens["tenant"], tokens["session"], stream_seq, message)


async def _quietly_unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except nats.errors.Error:
        return  # The connection is gone, and the subscription with it.
