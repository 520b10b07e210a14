"""Begin a log: its first batch, with expected sequence 0 (log.md R6)."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Event, SessionCreated
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
        first = await self._append(tenant, session_id, created, others)
        if isinstance(first, CallRefused):
            raise first
        await self.sessions.apply([(tenant, event) for event in first])
        return first[0].session_created

    async def many(
        self, tenant: str, sessions: Sequence[tuple[str, SessionCreated]]
    ) -> list[SessionCreated | CallRefused]:
        """As one session (id, first event) after the other; all appends are under way at once."""
        begun = await asyncio.gather(*(self._append(tenant, name, created) for name, created in sessions))
        applied = [(tenant, event) for first in begun if not isinstance(first, CallRefused) for event in first]
        if applied:
            await self.sessions.apply(applied)
        return [first if isinstance(first, CallRefused) else first[0].session_created for first in begun]

    async def _append(
        self, tenant: str, session_id: str, created: SessionCreated, others: Sequence[Record] = ()
    ) -> list[Event] | CallRefused:
        """The log's first events, that are this request's."""
        nonce, now = uuid.uuid4().hex, self.clock()
        records = [record(created), *others]
        writer = LogWriter(self.js, tenant=tenant, session_id=session_id, place=Place(), nonce=nonce, clock=lambda: now)
        try:
            place = await writer.append(records, run=1, attempt=0, wait_when_full=False)
        except LogFull:
            return self.admission.log_full()
        except LostRace as lost:
            message = lost.newer[0] if lost.newer else None
        else:
            headers = BatchHeaders(first_seq=1, run=1, attempt=0, nonce=nonce, record_time=now)
            message = LogMessage(place.stream_seq, headers, EventBatch(records=records))
        first = list(events(session_id, message)) if message is not None else []
        if not first or first[0].session_created.request_id != created.request_id:
            return session_exists(session_id)
        return first


def session_exists(session_id: str) -> CallRefused:
    """SESSION_EXISTS."""
    return CallRefused(
        errors_pb2.ERROR_REASON_SESSION_EXISTS,
        f"session {session_id!r} exists",
        metadata={"session_id": session_id},
    )
