"""Consecutive messages of one log become one batch while a transaction is put together (ADR 12).

A batch never changes afterwards, but for events that are cut out of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from event_store.gateways.batches import BatchRow, EventRow, messages_of
from event_store.gateways.event_bytes import compress, framed, frames_of, kinds_mask, packed_messages
from session_log.codec import LogMessage

# A batch takes no further message beyond so many events or bytes of them: what a reader unpacks for one event.
MERGED_EVENTS = 1000
MERGED_BYTES = 128 * 1024

Values = dict[str, Any]


@dataclass(slots=True)
class Merged:
    """A batch that still grows."""

    log_key: int
    first: LogMessage
    last: LogMessage
    parts: list[bytes] = field(default_factory=list)
    messages: list[tuple[int, int]] = field(default_factory=list)
    mask: int = 0
    size_bytes: int = 0

    def takes(self, message: LogMessage) -> bool:
        """Whether a message can go on in this batch."""
        mine, its = self.first.headers, message.headers
        return (
            (mine.run, mine.attempt) == (its.run, its.attempt)
            and self.last.last_seq + len(message.batch.records) - mine.first_seq < MERGED_EVENTS
            and self.size_bytes < MERGED_BYTES
        )

    def add(self, session_id: str, message: LogMessage) -> int:
        """A message that follows; returns the mask of its kinds."""
        mask = kinds_mask({record.kind for record in message.batch.records})
        frames = frames_of(session_id, message)
        self.parts.append(frames)
        self.messages.append((message.stream_seq, len(message.batch.records)))
        self.mask |= mask
        self.size_bytes += len(frames)
        self.last = message
        return mask

    def values(self, *, stored_us: int, commit_seq: int) -> Values:
        """As a row of `batches`."""
        first, last = self.first.batch.records[0], self.last.batch.records[-1]
        return {
            "log_key": self.log_key,
            "last_seq": self.last.last_seq,
            "first_seq": self.first.headers.first_seq,
            "run": self.first.headers.run,
            "attempt": self.first.headers.attempt,
            "kinds": self.mask,
            "first_step": first.step,
            "last_step": last.step,
            "first_sim_time_s": first.sim_time_s,
            "last_sim_time_s": last.sim_time_s,
            "record_us": round(self.first.headers.record_time.timestamp() * 1_000_000),
            "stored_us": stored_us,
            "first_stream_seq": self.first.stream_seq,
            "last_stream_seq": self.last.stream_seq,
            "commit_seq": commit_seq,
            "messages": packed_messages(self.messages),
            "event_count": sum(count for _, count in self.messages),
            "events": compress(b"".join(self.parts)),
        }


def without(batch: BatchRow, cut: Callable[[EventRow], bool]) -> Values:
    """What changes of a batch when events are cut out of it; its numbers stay, its `event_count` may become 0."""
    messages = [(number, [row for row in rows if not cut(row)]) for number, rows in messages_of(batch)]
    left = [row for _, rows in messages for row in rows]
    return {
        "kinds": kinds_mask({row.kind for row in left}),
        "messages": packed_messages([(number, len(rows)) for number, rows in messages]),
        "event_count": len(left),
        "events": compress(b"".join(framed(row.encoded) for row in left)),
    }
