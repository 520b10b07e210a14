"""Reads and appends to the logs of studies, under the broker's fence like every log (log.md R1, R6).

Whoever appends does so where its fold ended when it decided: of two writers the broker lets one win, the other folds
again.
"""

import asyncio
import contextlib
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message
from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.study.v1.study_event_pb2 import StudyCreated
from milepost.study.v1.study_pb2 import StudyPlan
from runtime.blobs import Blobs
from runtime.errors import CallRefused
from session_api.application.study.study_state import StudySoFar
from session_log.codec import BatchHeaders, LogMessage, events, log_of_study, record
from session_log.reader import LogReader, UnknownSession
from session_log.writer import LogWriter, LostRace, Place, split

# More than a plan may be when it is made.
PLAN_MAX_BYTES = 128 * 1024 * 1024
# Folded studies that are kept in memory.
_REMEMBERED = 32
# Their last events that are kept, for those who watch them.
_RECENT_EVENTS = 500

_Key = tuple[str, str]


@dataclass(slots=True)
class _Kept:
    """A folded study, and the last of its events."""

    study: StudySoFar
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=_RECENT_EVENTS))
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it has ended, as far as this process has read."""

    def take(self, found: Sequence[Event], place: Place) -> None:
        """What follows; another call may have brought it as far in the meantime."""
        if place.seq <= self.study.place.seq:
            return
        for event in found:
            if event.seq > self.study.place.seq:
                self.study.apply(event)
                self.recent.append(event)
        self.study.place = place
        if self.study.end_time is not None:
            self.over.set()


@dataclass(slots=True)
class StudyLogs:
    """All of them; what was folded before is brought level instead of read again."""

    js: JetStreamContext
    reader: LogReader
    blobs: Blobs
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _kept: OrderedDict[_Key, _Kept] = field(default_factory=OrderedDict)

    async def read(self, tenant: str, study_id: str) -> StudySoFar:
        """The study up to now. Raises CallRefused(STUDY_NOT_FOUND); waits while neither broker nor store can tell."""
        return (await self._level(tenant, study_id)).study

    async def read_after(self, tenant: str, study_id: str, *, after_seq: int) -> tuple[StudySoFar, list[Event]]:
        """The study up to now, and its events after a seq; raises as `read`."""
        kept = await self._level(tenant, study_id)
        study, recent = kept.study, list(kept.recent)
        if recent and recent[0].seq <= after_seq + 1:
            return study, [event for event in recent if event.seq > after_seq]
        if after_seq >= study.place.seq:
            return study, []
        found, _ = await self._read(tenant, study_id, Place(seq=after_seq))
        return study, found

    async def until_over(self, tenant: str, study_id: str, *, within_s: float) -> None:
        """Until this process has read the study's end, or that many seconds are over."""
        kept = self._kept.get((tenant, study_id))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await (kept.over if kept is not None else asyncio.Event()).wait()

    async def _level(self, tenant: str, study_id: str) -> _Kept:
        key = (tenant, study_id)
        kept = self._kept.get(key)
        found, place = await self._read(tenant, study_id, kept.study.place if kept else Place())
        if kept is None:
            if not found or not found[0].HasField("study_created"):
                raise study_not_found(study_id)
            # Another call may have read it in the meantime.
            kept = self._kept.setdefault(key, _Kept(await self._begin(study_id, found[0])))
        kept.take(found, place)
        # It may have gone meanwhile, when many are read.
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        if kept.study.deleted:
            self._kept.pop(key, None)
        return kept

    async def _read(self, tenant: str, study_id: str, after: Place) -> tuple[list[Event], Place]:
        try:
            return await self.reader.read_study(tenant, log_of_study(study_id), after=after)
        except UnknownSession as unknown:
            # Its name may begin another log one day.
            self._kept.pop((tenant, study_id), None)
            raise study_not_found(study_id) from unknown

    async def begin(self, tenant: str, study_id: str, created: StudyCreated) -> StudySoFar:
        """Append a study's first event. Raises LostRace when its log is there."""
        await self._append(tenant, study_id, Place(), [record(created)])
        return await self.read(tenant, study_id)

    async def append(self, tenant: str, study: StudySoFar, payloads: Sequence[Message], *, at: Place) -> None:
        """Append at the place where what is appended was decided, in order; the fold goes on with it.

        The fold is everybody's: a read for somebody else may have brought it further since, so its own place says
        nothing about what the decision saw. Raises LostRace when the log went on: read again and decide anew.
        """
        if at != study.place:
            raise LostRace([])
        for batch in split([record(payload) for payload in payloads]):
            message = await self._append(tenant, study.study_id, at, batch)
            at = at.after(message)
            kept = self._kept.get((tenant, study.study_id))
            if kept is None or kept.study is not study:
                kept = _Kept(study)
            kept.take(list(events(log_of_study(study.study_id), message)), at)
        if study.deleted:
            self._kept.pop((tenant, study.study_id), None)

    async def _append(self, tenant: str, study_id: str, place: Place, records: Sequence[Record]) -> LogMessage:
        nonce, now = uuid.uuid4().hex, self.clock()
        writer = LogWriter(
            self.js, tenant=tenant, session_id=log_of_study(study_id), place=place, nonce=nonce, clock=lambda: now
        )
        after = await writer.append(records, run=1, attempt=0)
        headers = BatchHeaders(place.seq + 1, run=1, attempt=0, nonce=nonce, record_time=now)
        return LogMessage(after.stream_seq, headers, EventBatch(records=records))

    async def _begin(self, study_id: str, first: Event) -> StudySoFar:
        created = first.study_created
        plan = created.plan
        if created.plan_sha256:
            plan = StudyPlan.FromString(await self.blobs.get_bytes(created.plan_sha256, limit_bytes=PLAN_MAX_BYTES))
        return StudySoFar(study_id, _without_plan(created), plan, first.record_time.ToDatetime(UTC))


def _without_plan(created: StudyCreated) -> StudyCreated:
    kept = StudyCreated()
    kept.CopyFrom(created)
    kept.ClearField("plan")
    return kept


def study_not_found(study_id: str) -> CallRefused:
    """STUDY_NOT_FOUND."""
    return CallRefused(
        errors_pb2.ERROR_REASON_STUDY_NOT_FOUND, f"no study {study_id!r}", metadata={"study_id": study_id}
    )
