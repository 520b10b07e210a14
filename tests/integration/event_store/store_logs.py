"""Logs to put into a store, and the records they are made of."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from nats.js import JetStreamContext

from milepost.event.v1.event_pb2 import Event, IntervalClosed, LogLine, RunOpened, SessionCompleted, SessionCreated
from milepost.event.v1.record_pb2 import Record
from runtime.settings import DEFAULT_TENANT
from session_log.codec import record
from session_log.writer import LogWriter, Place


@dataclass
class Log:
    """The log of a session, and all that was appended to it."""

    js: JetStreamContext
    session_id: str
    appended: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = LogWriter(
            self.js, tenant=DEFAULT_TENANT, session_id=self.session_id, place=Place(), nonce=uuid.uuid4().hex
        )

    async def append(self, *records: Record) -> None:
        """One message."""
        await self.writer.append(records, run=1, attempt=1)
        self.appended += records

    @property
    def head(self) -> int:
        return len(self.appended)


def lines(*texts: str) -> list[Record]:
    return [record(LogLine(text=text)) for text in texts]


def created() -> Record:
    return record(SessionCreated(tenant=DEFAULT_TENANT, display_name="one"))


def interval(step: int) -> Record:
    return record(IntervalClosed(state_digest=step.to_bytes(16, "big")), step=step, sim_time_s=step / 10)


def reopened() -> Record:
    """What makes an ended log go on."""
    return record(RunOpened(run=2))


def completed(step: int = 0) -> Record:
    return record(SessionCompleted(), step=step)


def as_records(events: Sequence[Event]) -> list[Record]:
    """Events as the records they came from."""
    found = []
    for event in events:
        payload = getattr(event, event.WhichOneof("payload"))
        found.append(record(payload, step=event.step, sim_time_s=event.sim_time_s))
    return found
