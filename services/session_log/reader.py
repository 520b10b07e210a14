"""Reading a whole log: the store up to its head, then what the broker has beyond it (log.md R15).

A log that has just begun, and while the store does not answer any that the broker still holds from its first event,
is read from the broker alone: what was appended a moment ago would wait for being stored.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
import structlog
from nats.js import JetStreamContext

from milepost.event.v1.event_pb2 import (
    CommandRequested,
    Event,
    EventKind,
    ForkPast,
    RunStarted,
    SessionCreated,
    SessionDeleted,
    SessionUpdated,
)
from milepost.event.v1.event_service_pb2 import GetHeadRequest, ReadEventsRequest
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from runtime.broker import is_token
from runtime.channels import for_tenant
from session_log.broker_log import read_tail, read_young
from session_log.codec import STUDY_KINDS, LogMessage, events
from session_log.domain.fold import SessionLife
from session_log.facts import fold_event
from session_log.fold_past import past_of, wish_after
from session_log.past import PAST_KINDS, Past
from session_log.writer import Place

log = structlog.get_logger()

# How long the store may take to answer one read, seconds. It waits up to 2 s itself for ingestion (R13).
STORE_TIMEOUT_S = 5.0
# How long to wait before the store is asked again, seconds.
_RETRY_WAIT_S = 0.5
_BEGIN = Place()

LIFE_KINDS = (
    EventKind.EVENT_KIND_SESSION_CREATED,
    EventKind.EVENT_KIND_ATTEMPT_CLAIMED,
    EventKind.EVENT_KIND_RUN_STARTED,
    EventKind.EVENT_KIND_SESSION_COMPLETED,
    EventKind.EVENT_KIND_SESSION_FAILED,
    EventKind.EVENT_KIND_SESSION_CANCELLED,
    EventKind.EVENT_KIND_COMMAND_REQUESTED,
    EventKind.EVENT_KIND_COMMAND_APPLIED,
    EventKind.EVENT_KIND_COMMAND_REJECTED,
    EventKind.EVENT_KIND_SESSION_RECOVERED,
    EventKind.EVENT_KIND_HANDED_OVER,
    EventKind.EVENT_KIND_RUN_OPENED,
    EventKind.EVENT_KIND_SESSION_UPDATED,
    EventKind.EVENT_KIND_SESSION_DELETED,
    EventKind.EVENT_KIND_SESSION_UNDELETED,
)
"""Kinds that the fold of a session's life needs."""


@dataclass(eq=False)
class UnknownSession(Exception):
    """Neither the store nor the broker knows the session."""

    session_id: str

    def __str__(self) -> str:
        return f"no session {self.session_id!r}"


@dataclass(frozen=True, slots=True)
class LogSoFar:
    """A log as read: its life, where it ends, and its first event."""

    life: SessionLife
    place: Place
    created: SessionCreated
    requests: Mapping[str, CommandRequested]
    """Every command, by its id."""
    wish: SessionUpdated = field(default_factory=SessionUpdated)
    """Names and task as they were last asked for. Seed and options may differ from those of a run that has begun."""
    started: RunStarted = field(default_factory=RunStarted)
    """How the session was last executed; empty before its first RunStarted."""
    deleted: SessionDeleted = field(default_factory=SessionDeleted)
    """The last deletion, also when it was undone."""
    first_run: int = 1
    """The first run whose intervals are kept; those before it were cut."""


class LogReader:
    """Reads logs from the store and the broker."""

    def __init__(self, store: EventServiceStub, js: JetStreamContext) -> None:
        self._store = store
        self._js = js

    async def read(self, tenant: str, session_id: str) -> LogSoFar:
        """The log's life up to now. Raises UnknownSession; waits while neither side can tell."""
        known, place, oldest_seq = await self._read(tenant, session_id, LIFE_KINDS)
        life, created, wish = SessionLife(), SessionCreated(), SessionUpdated()
        started, deleted = RunStarted(), SessionDeleted()
        requests: dict[str, CommandRequested] = {}
        begins = {1: 1}
        for event in known:
            match event.WhichOneof("payload"):
                case "session_created":
                    created = event.session_created
                    wish = SessionUpdated(
                        display_name=created.display_name, labels=created.labels, spec=created.spec, scene=created.scene
                    )
                case "session_updated":
                    wish = event.session_updated
                case "run_opened":
                    wish = wish_after(wish, event.run_opened)
                    begins[event.run_opened.run] = event.seq
                case "run_started":
                    started = event.run_started
                case "session_deleted":
                    deleted = event.session_deleted
                case "command_requested":
                    requests[event.command_requested.command_id] = event.command_requested
            life = fold_event(life, event)
        first_run = min((run for run, seq in begins.items() if seq >= oldest_seq), default=max(begins))
        return LogSoFar(life, place, created, requests, wish, started, deleted, first_run)

    async def read_past(
        self,
        tenant: str,
        session_id: str,
        *,
        run: int = 0,
        upto_seq: int | None = None,
        origin: ForkPast | None = None,
    ) -> Past:
        """The past of a run (0: the latest), up to `upto_seq`; `origin` as in `fold_past.past_of`.

        Raises as `read`, and ValueError for an unknown run.
        """
        known = await self.past_events(tenant, session_id)
        events = [event for event in known if upto_seq is None or event.seq <= upto_seq]
        return past_of(events, run or max(event.run for event in events), origin)

    async def past_events(self, tenant: str, session_id: str) -> list[Event]:
        """The events a past is folded from, at least; raises as `read`."""
        known, _, _ = await self._read(tenant, session_id, PAST_KINDS)
        return known

    async def read_study(self, tenant: str, log_id: str, *, after: Place = _BEGIN) -> tuple[list[Event], Place]:
        """The events of a study's log after a place, and where it ends; raises as `read`.

        From a place of which the stream's number is known the broker is asked first, and once when there is nothing.
        """
        if after.stream_seq:
            tail = await read_tail(self._js, tenant, log_id, after_stream_seq=after.stream_seq)
            if not tail or tail[0].headers.first_seq == after.seq + 1:
                return _joined(log_id, [], after, tail)
        known, place, _ = await self._read(tenant, log_id, tuple(STUDY_KINDS), after_seq=after.seq)
        return [event for event in known if event.seq > after.seq], place

    async def gained(self, tenant: str, session_id: str, *, after_seq: int) -> bool:
        """Whether an interval stands in the log after `after_seq` (log.md R10). Raises as `read`."""
        known, _, _ = await self._read(tenant, session_id, (EventKind.EVENT_KIND_INTERVAL_CLOSED,), after_seq=after_seq)
        return any(event.HasField("interval_closed") and event.seq > after_seq for event in known)

    async def _read(
        self, tenant: str, session_id: str, kinds: Sequence[int], *, after_seq: int = 0
    ) -> tuple[list[Event], Place, int]:
        """Events, where the log ends, and its `oldest_seq`."""
        if not is_token(session_id):
            raise UnknownSession(session_id)
        young = await read_young(self._js, tenant, session_id)
        if young and all(message.headers.run == 1 for message in young):
            # Of several runs the earlier may be cut: the store knows.
            return *_joined(session_id, [], Place(), young), 1
        while True:
            stored = await self._read_store(tenant, session_id, kinds, after_seq)
            if stored is not None:
                known, place, oldest_seq = stored
                return *await self._with_tail(tenant, session_id, known, place), oldest_seq
            from_broker, place = await self._with_tail(tenant, session_id, [], Place())
            if place.seq:
                return from_broker, place, 1
            log.warning("log is readable nowhere yet", session=session_id)
            await asyncio.sleep(_RETRY_WAIT_S)

    async def _read_store(
        self, tenant: str, session_id: str, kinds: Sequence[int], after_seq: int
    ) -> tuple[list[Event], Place, int] | None:
        """What is stored, where it ends and where it begins; None when the store cannot tell. Raises UnknownSession."""
        try:
            request = GetHeadRequest(session_id=session_id)
            head = await self._store.GetHead(request, timeout=STORE_TIMEOUT_S, metadata=for_tenant(tenant))
            stored = [event async for event in self._pages(tenant, session_id, head.head_seq, kinds, after_seq)]
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise UnknownSession(session_id) from error
            log.warning("store does not answer", session=session_id, status=error.code().name)
            return None
        return stored, Place(stream_seq=head.stream_seq, seq=head.head_seq), head.oldest_seq

    async def _pages(
        self, tenant: str, session_id: str, head_seq: int, kinds: Sequence[int], after_seq: int
    ) -> AsyncIterator[Event]:
        if after_seq >= head_seq:
            return
        request = ReadEventsRequest(
            session_id=session_id,
            kinds=[EventKind.ValueType(kind) for kind in kinds],
            cursor=after_seq,
            # What earlier runs have lost to retention nothing stands on.
            kept_only=True,
        )
        while True:
            page = await self._store.ReadEvents(request, timeout=STORE_TIMEOUT_S, metadata=for_tenant(tenant))
            for event in page.events:
                if event.seq > head_seq:
                    return
                yield event
            if not page.next_cursor:
                return
            request.cursor = page.next_cursor

    async def _with_tail(
        self, tenant: str, session_id: str, stored: list[Event], place: Place
    ) -> tuple[list[Event], Place]:
        """Stored events, all that the broker has after them, and where that ends."""
        tail = await read_tail(self._js, tenant, session_id, after_stream_seq=place.stream_seq)
        return _joined(session_id, stored, place, tail)


def _joined(
    session_id: str, stored: list[Event], place: Place, tail: Sequence[LogMessage]
) -> tuple[list[Event], Place]:
    known = list(stored)
    for message in tail:
        if message.headers.first_seq == place.seq + 1:
            known.extend(events(session_id, message))
            place = place.after(message)
    return known, place
