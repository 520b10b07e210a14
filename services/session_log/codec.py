"""Records on the broker, batches and their headers, events for readers — and the numbers that name kinds.

A kind's number is the field number of its payload in `Event.payload`; the descriptor is the only table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import Message

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.options.v1 import options_pb2
from runtime.traces import TRACEPARENT

_PAYLOADS = Event.DESCRIPTOR.oneofs_by_name["payload"].fields
_FIELD_NAME = {field.number: field.name for field in _PAYLOADS}
_KIND = {field.message_type.full_name: field.number for field in _PAYLOADS if field.message_type}

SIMULATION_KINDS: frozenset[int] = frozenset(
    field.number
    for field in _PAYLOADS
    if field.message_type
    and field.message_type.GetOptions().Extensions[options_pb2.event_class] == options_pb2.EVENT_CLASS_SIMULATION
)
"""Kinds whose bytes are equal when inputs are equal; what recovery is judged by."""

TERMINAL_KINDS: frozenset[int] = frozenset(
    {
        EventKind.EVENT_KIND_SESSION_COMPLETED,
        EventKind.EVENT_KIND_SESSION_FAILED,
        EventKind.EVENT_KIND_SESSION_CANCELLED,
        EventKind.EVENT_KIND_STUDY_COMPLETED,
        EventKind.EVENT_KIND_STUDY_CANCELLED,
    }
)
"""Kinds that end a session, or a study, while they are the last of its log (log.md R14)."""

STUDY_KINDS: frozenset[int] = frozenset(
    field.number for field in _PAYLOADS if field.message_type and field.message_type.file.package == "milepost.study.v1"
)
"""Kinds of the logs of studies, which hold no other."""

# Sessions may not be called so.
_STUDY_PREFIX = "study-"


def log_of_study(study_id: str) -> str:
    """Name of a study's log, where sessions have their ids."""
    return _STUDY_PREFIX + study_id


def study_of_log(session_id: str) -> str | None:
    """The study whose log has this name; None: it is a session's."""
    return session_id.removeprefix(_STUDY_PREFIX) if session_id.startswith(_STUDY_PREFIX) else None


def kind_of(payload: type[Message] | Message) -> int:
    """Number of a payload's kind. Raises KeyError for a message that is no payload."""
    return _KIND[payload.DESCRIPTOR.full_name]


def record(payload: Message, *, step: int = 0, sim_time_s: float = 0.0) -> Record:
    """The payload as a record."""
    return Record(
        kind=kind_of(payload),
        step=step,
        sim_time_s=sim_time_s,
        payload=payload.SerializeToString(deterministic=True),
    )


@dataclass(frozen=True, slots=True)
class BatchHeaders:
    """What travels beside the records of one message: everything that depends on the writing."""

    first_seq: int
    run: int
    attempt: int
    nonce: str
    record_time: datetime
    trace: str = ""
    """The span it was written in, a W3C `traceparent`; empty while nobody traces."""

    def encode(self) -> dict[str, str]:
        """As NATS headers."""
        return {
            "Milepost-First-Seq": str(self.first_seq),
            "Milepost-Run": str(self.run),
            "Milepost-Attempt": str(self.attempt),
            "Milepost-Nonce": self.nonce,
            "Milepost-Record-Time": self.record_time.astimezone(UTC).isoformat(),
            **({TRACEPARENT: self.trace} if self.trace else {}),
        }

    @classmethod
    def decode(cls, headers: Mapping[str, str]) -> "BatchHeaders":
        """From NATS headers; raises KeyError or ValueError when this is no batch of ours."""
        return cls(
            first_seq=int(headers["Milepost-First-Seq"]),
            run=int(headers["Milepost-Run"]),
            attempt=int(headers["Milepost-Attempt"]),
            nonce=headers["Milepost-Nonce"],
            record_time=datetime.fromisoformat(headers["Milepost-Record-Time"]),
            trace=headers.get(TRACEPARENT, ""),
        )


@dataclass(frozen=True, slots=True)
class LogMessage:
    """One message of a session's log as the broker holds it."""

    stream_seq: int
    headers: BatchHeaders
    batch: EventBatch

    @property
    def last_seq(self) -> int:
        """Seq of its last record."""
        return self.headers.first_seq + len(self.batch.records) - 1


def event(session_id: str, seq: int, headers: BatchHeaders, source: Record) -> Event:
    """One record as readers get it."""
    built = Event(
        session_id=session_id,
        seq=seq,
        run=headers.run,
        attempt=headers.attempt,
        step=source.step,
        sim_time_s=source.sim_time_s,
    )
    built.record_time.FromDatetime(headers.record_time)
    payload = getattr(built, _FIELD_NAME[source.kind])
    payload.SetInParent()
    payload.MergeFromString(source.payload)
    return built


def events(session_id: str, message: LogMessage) -> Iterator[Event]:
    """A message's records as events, in order."""
    for offset, source in enumerate(message.batch.records):
        yield event(session_id, message.headers.first_seq + offset, message.headers, source)


def record_payload(kind: int, payload: bytes) -> Message:
    """A record's payload as a message."""
    built: Message = getattr(Event(), _FIELD_NAME[kind])
    built.MergeFromString(payload)
    return built


def event_kind(source: Event) -> int:
    """Number of an event's kind. Raises KeyError when it has no payload."""
    name = source.WhichOneof("payload")
    return Event.DESCRIPTOR.fields_by_name[name or ""].number


def payload_of(source: Event) -> bytes:
    """An event's payload, serialised as its record holds it."""
    payload: Message = getattr(source, source.WhichOneof("payload") or "")
    return payload.SerializeToString(deterministic=True)
