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
from session_log.reader import LogReader, UnknownSession
from session_log.writer import LogFull, LogWriter, LostRace, Place


@dataclass(frozen=True, slots=True)
class BeginLog:
    """The acknowledgement is the commit: from then on the session survives any crash."""

    js: JetStreamContext
    reader: LogReader
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
        begun = await self._append(tenant, session_id, created, others)
        if isinstance(begun, CallRefused):
            raise begun
        await self.sessions.apply([(tenant, event) for event in begun.appended])
        return begun.created

    async def many(
        self, tenant: str, sessions: Sequence[tuple[str, SessionCreated]]
    ) -> list[SessionCreated | CallRefused]:
        """As one session (id, first event) after the other; all appends are under way at once."""
        begun = await asyncio.gather(*(self._append(tenant, name, created) for name, created in sessions))
        applied = [(tenant, event) for one in begun if not isinstance(one, CallRefused) for event in one.appended]
        if applied:
            await self.sessions.apply(applied)
        return [one if isinstance(one, CallRefused) else one.created for one in begun]

    async def _append(
        self, tenant: str, session_id: str, created: SessionCreated, others: Sequence[Record] = ()
    ) -> "_Begun | CallRefused":
        """The log's first events, that are this request's."""
        nonce, now = uuid.uuid4().hex, self.clock()
        records = [record(created), *others]
        writer = LogWriter(self.js, tenant=tenant, session_id=session_id, place=Place(), nonce=nonce, clock=lambda: now)
        try:
            place = await writer.append(records, run=1, attempt=0, wait_when_full=False)
        except LogFull:
            return self.admission.log_full()
        except LostRace as lost:
            begun = await self._there(tenant, session_id, lost)
            if begun is None or begun.created.request_id != created.request_id:
                return session_exists(session_id)
            return begun
        headers = BatchHeaders(first_seq=1, run=1, attempt=0, nonce=nonce, record_time=now)
        message = LogMessage(place.stream_seq, headers, EventBatch(records=records))
        return _Begun(created, list(events(session_id, message)))

    async def _there(self, tenant: str, session_id: str, lost: LostRace) -> "_Begun | None":
        """What stands there; None when that is gone in the meantime."""
        if lost.newer and lost.newer[0].headers.first_seq == 1:
            first = list(events(session_id, lost.newer[0]))
            return _Begun(first[0].session_created, first)
        try:
            # It began so long ago that the broker has let go of its beginning (R4).
            return _Begun((await self.reader.read(tenant, session_id)).created, [])
        except UnknownSession:
            return None


@dataclass(frozen=True, slots=True)
class _Begun:
    """A log's first event, and what is to be told of its first batch."""

    created: SessionCreated
    appended: list[Event]


def session_exists(session_id: str) -> CallRefused:
    """SESSION_EXISTS."""
    return CallRefused(
        errors_pb2.ERROR_REASON_SESSION_EXISTS,
        f"session {session_id!r} exists",
        metadata={"session_id": session_id},
    )
