"""Begin a log: its first batch, with expected sequence 0 (log.md R6)."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import SessionCreated
from milepost.event.v1.record_pb2 import EventBatch, Record
from runtime.errors import CallRefused
from session_api.application.admission import Admission
from session_api.gateways.sessions_sql import Sessions
from session_log.codec import BatchHeaders, LogMessage, events, record
from session_log.writer import LogFull, LogWriter, LostRace, Place


@dataclass(frozen=True, slots=True)
class BeginLog:
    """The acknowledgement is the commit: from then on the session survives any crash."""

    js: JetStreamContext
    sessions: Sessions
    admission: Admission
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def require_room(self) -> None:
        """Raises CallRefused: LOG_FULL, BROKER_UNAVAILABLE."""
        await self.admission.require_room()

    async def __call__(
        self, tenant: str, session_id: str, created: SessionCreated, others: Sequence[Record] = ()
    ) -> SessionCreated:
        """Append `created` and what belongs to it; what stands there when the same request was here before.

        Raises CallRefused: SESSION_EXISTS, LOG_FULL.
        """
        nonce, now = uuid.uuid4().hex, self.clock()
        records = [record(created), *others]
        writer = LogWriter(self.js, tenant=tenant, session_id=session_id, place=Place(), nonce=nonce, clock=lambda: now)
        try:
            place = await writer.append(records, run=1, attempt=0, wait_when_full=False)
        except LogFull:
            raise self.admission.log_full() from None
        except LostRace as lost:
            message = lost.newer[0] if lost.newer else None
        else:
            headers = BatchHeaders(first_seq=1, run=1, attempt=0, nonce=nonce, record_time=now)
            message = LogMessage(place.stream_seq, headers, EventBatch(records=records))
        first = list(events(session_id, message)) if message is not None else []
        if not first or first[0].session_created.request_id != created.request_id:
            raise session_exists(session_id)
        await self.sessions.apply([(tenant, event) for event in first])
        return first[0].session_created


def session_exists(session_id: str) -> CallRefused:
    """SESSION_EXISTS."""
    return CallRefused(
        errors_pb2.ERROR_REASON_SESSION_EXISTS,
        f"session {session_id!r} exists",
        metadata={"session_id": session_id},
    )
