"""Rebuild the projection of sessions from the logs, while it serves (log.md R17).

    all logs, by their first events ─► each folded from its begin ─► equal to its row?  nothing to do
                                                                 └─ else in its place, whole, never further back

Rows that no log is behind go at the end. Request ids are no projection and stay.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
import structlog

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.event_service_pb2 import GetHeadRequest, ReadEventsRequest, WatchAllEventsRequest
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from runtime.channels import for_tenant
from session_api.gateways.projected import Outcome, Projected
from session_api.gateways.session_resource import apply
from session_api.gateways.sessions_kept import KeptSessions, Row
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.studies_rows import is_noted, note_studies
from session_log.reader import LogReader, UnknownSession

log = structlog.get_logger()

# How long the store may take to answer one read, seconds.
STORE_TIMEOUT_S = 10.0
# How long to wait for the store when the projection is ahead of it, seconds.
_LOOK_S = 0.1
_PAGE_EVENTS = 1000

Key = tuple[str, str]


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild came to."""

    sessions: int = 0
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Fold:
    """A log as far as it was read."""

    projected: Projected = field(default_factory=Projected)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        outcome = apply(self.projected, event)
        if outcome is not None:
            self.outcomes.setdefault(outcome.command_id, outcome)

    @property
    def row(self) -> Row:
        return Row.of(self.projected, self.outcomes.values())


@dataclass(frozen=True, slots=True)
class RebuildSessions:
    """One session at a time."""

    store: EventServiceStub
    reader: LogReader
    sessions: Sessions
    kept: KeptSessions
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self) -> Rebuilt:
        """Raises grpc.aio.AioRpcError when the store does not answer: what was done by then stands."""
        rebuilt = Rebuilt()
        known = [key async for key in self._stored()]
        for key in known:
            rebuilt.sessions += 1
            if await self._rebuild(key):
                rebuilt.changed.append(key[1])
        for key in sorted(await self.kept.names() - set(known)):
            if not await self._has_log(key):
                await self.sessions.remove(*key)
                rebuilt.removed.append(key[1])
        log.info("projection rebuilt", sessions=rebuilt.sessions, changed=rebuilt.changed, removed=rebuilt.removed)
        return rebuilt

    async def _stored(self) -> AsyncIterator[Key]:
        """Every session of the store, by its first event; studies are put on their list on the way."""
        request = WatchAllEventsRequest(
            kinds=[
                EventKind.EVENT_KIND_SESSION_CREATED,
                EventKind.EVENT_KIND_STUDY_CREATED,
                EventKind.EVENT_KIND_STUDY_DELETED,
            ],
            all_tenants=True,
        )
        call = self.store.WatchAllEvents(request)
        try:
            async for response in call:
                of_studies = [(one.tenant, one.event) for one in response.events if is_noted(one.event)]
                # Whoever runs studies finds out how they went on.
                await self.sessions.write(functools.partial(note_studies, events=of_studies))
                for stored in response.events:
                    if stored.event.HasField("session_created"):
                        yield stored.tenant, stored.event.session_id
                if response.caught_up:
                    return
        finally:
            call.cancel()

    async def _rebuild(self, key: Key) -> bool:
        """Whether the session's row said something else than its log, or was not there."""
        known = await self.kept.row(key)
        if known is None and await self._is_gone(key):
            return False
        fold, same = _Fold(), False
        while True:
            async for event in self._after(key, fold.projected.session.seq):
                fold.take(event)
                # A row is compared where it stood when it was read: the feed may be behind.
                if known is not None and event.seq == known.projected.session.seq:
                    same = known.says(fold.row)
            if same or not fold.projected.session.seq:
                return False
            if await self.kept.replace(key, fold.row):
                return True
            # The row is ahead of the store by an event of this service.
            await asyncio.sleep(_LOOK_S)

    async def _is_gone(self, key: Key) -> bool:
        """Whether the session was deleted for good, as its log says up to now: the store may only be behind."""
        try:
            found = await self.reader.read(*key)
        except UnknownSession:
            return True
        return found.life.deleted and found.deleted.purge_time.ToDatetime(UTC) <= self.clock()

    async def _after(self, key: Key, seq: int) -> AsyncIterator[Event]:
        tenant, session_id = key
        request = ReadEventsRequest(session_id=session_id, cursor=seq, page_size=_PAGE_EVENTS, kept_only=True)
        while True:
            try:
                page = await self.store.ReadEvents(request, timeout=STORE_TIMEOUT_S, metadata=for_tenant(tenant))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    # Dropped since it was listed.
                    return
                raise
            for event in page.events:
                yield event
            if not page.next_cursor:
                return
            request.cursor = page.next_cursor

    async def _has_log(self, key: Key) -> bool:
        tenant, session_id = key
        try:
            request = GetHeadRequest(session_id=session_id)
            await self.store.GetHead(request, timeout=STORE_TIMEOUT_S, metadata=for_tenant(tenant))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True
