"""What the broker still holds of a session's log, read from the stream's leader.

Direct gets may be answered by a replica that is behind; a verdict about an append (log.md R3) needs the leader.
One request per message: tails are a few messages long.
"""

import asyncio

import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NoStreamResponseError, NotFoundError, ServiceUnavailableError

from milepost.event.v1.record_pb2 import EventBatch
from runtime import traces
from runtime.broker import RECONNECT_WAIT_S, binding, subject
from session_log.codec import BatchHeaders, LogMessage

log = structlog.get_logger()

UNREACHABLE = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.StaleConnectionError,
    NoStreamResponseError,
    ServiceUnavailableError,
)
"""What nats-py raises while the broker cannot answer; none of it says whether a request was carried out."""

# A log whose last message begins up to here is read without the store, one request for each message.
YOUNG_EVENTS = 32

_STREAM = binding(EventBatch).stream


async def read_tail(js: JetStreamContext, tenant: str, session_id: str, *, after_stream_seq: int) -> list[LogMessage]:
    """The session's messages after a sequence number of the stream, in order; waits while the broker is away."""
    messages: list[LogMessage] = []
    position = after_stream_seq
    while (raw := await _next(js, subject(EventBatch, tenant=tenant, session=session_id), position)) is not None:
        messages.append(_decode(raw))
        position = messages[-1].stream_seq
    return messages


async def read_young(js: JetStreamContext, tenant: str, session_id: str) -> list[LogMessage]:
    """The session's messages from the first to the one that is last now.

    None when the broker does not hold them all, or they are many.
    """
    name = subject(EventBatch, tenant=tenant, session=session_id)
    try:
        raw = await js.get_msg(_STREAM, subject=name)
    except (NotFoundError, *UNREACHABLE):
        return []
    last = _decode(raw)
    if last.headers.first_seq > YOUNG_EVENTS:
        return []
    messages: list[LogMessage] = []
    position, seq = 0, 0
    while seq + 1 < last.headers.first_seq:
        raw_next = await _next(js, name, position)
        if raw_next is None or (message := _decode(raw_next)).headers.first_seq != seq + 1:
            return []
        messages.append(message)
        position, seq = message.stream_seq, message.last_seq
    return [*messages, last]


async def last_stream_seq(js: JetStreamContext, tenant: str, session_id: str) -> int:
    """Stream sequence of the session's last message, 0 when the broker holds none; raises UNREACHABLE."""
    try:
        raw = await js.get_msg(_STREAM, subject=subject(EventBatch, tenant=tenant, session=session_id))
    except NotFoundError:
        return 0
    return raw.seq or 0


async def last_span(js: JetStreamContext, tenant: str, session_id: str) -> str:
    """The span the session's last message was written in, a `traceparent`; empty while nobody traces or can tell."""
    if not traces.enabled():
        return ""
    try:
        raw = await js.get_msg(_STREAM, subject=subject(EventBatch, tenant=tenant, session=session_id))
    except (NotFoundError, *UNREACHABLE):
        return ""
    return str((raw.headers or {}).get(traces.TRACEPARENT, ""))


async def _next(js: JetStreamContext, filter_subject: str, after_stream_seq: int) -> RawStreamMsg | None:
    while True:
        try:
            return await js.get_msg(_STREAM, seq=after_stream_seq + 1, subject=filter_subject, next=True)
        except NotFoundError:
            return None
        except UNREACHABLE as error:
            log.warning("broker does not answer a read", subject=filter_subject, error=repr(error))
            await asyncio.sleep(RECONNECT_WAIT_S)


def _decode(raw: RawStreamMsg) -> LogMessage:
    assert raw.seq is not None
    return LogMessage(
        stream_seq=raw.seq,
        headers=BatchHeaders.decode(raw.headers or {}),
        batch=EventBatch.FromString(raw.data or b""),
    )
