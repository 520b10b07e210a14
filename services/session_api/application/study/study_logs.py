"""Reads and appends to the logs of studies, under the broker's fence like every log (log.md R1, R6).

Whoever appends does so where its fold ends: of two writers the broker lets one win, the other folds again.
"""

import uuid
from collections import OrderedDict
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
from session_log.writer import LogWriter, Place, split

# More than a plan may be when it is made.
PLAN_MAX_BYTES = 128 * 1024 * 1024
# Folded studies that are kept in memory.
_REMEMBERED = 32

_Key = tuple[str, str]


@dataclass(slots=True)
class StudyLogs:
    """All of them; what was folded before is brought level instead of read again."""

    js: JetStreamContext
    reader: LogReader
    blobs: Blobs
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _folded: OrderedDict[_Key, StudySoFar] = field(default_factory=OrderedDict)

    async def read(self, tenant: str, study_id: str) -> StudySoFar:
        """The study up to now. Raises CallRefused(STUDY_NOT_FOUND); waits while neither broker nor store can tell."""
        study, _ = await self.read_after(tenant, study_id)
        return study

    async def read_after(
        self, tenant: str, study_id: str, *, after_seq: int | None = None
    ) -> tuple[StudySoFar, list[Event]]:
        """The study up to now, and its events after a seq; without one, none."""
        key = (tenant, study_id)
        known = self._folded.get(key)
        begin = known.place.seq if known else 0
        if after_seq is not None:
            begin = min(begin, after_seq)
        try:
            found, place = await self.reader.read_study(tenant, log_of_study(study_id), after_seq=begin)
        except UnknownSession as unknown:
            raise study_not_found(study_id) from unknown
        if known is None:
            if not found or not found[0].HasField("study_created"):
                raise study_not_found(study_id)
            known = await self._begin(study_id, found[0])
        # Another call may have brought it further in the meantime.
        known = self._folded.setdefault(key, known)
        self._folded.move_to_end(key)
        while len(self._folded) > _REMEMBERED:
            self._folded.popitem(last=False)
        self._take(known, found, place)
        return known, [event for event in found if after_seq is not None and event.seq > after_seq]

    async def begin(self, tenant: str, study_id: str, created: StudyCreated) -> StudySoFar:
        """Append a study's first event. Raises LostRace when its log is there."""
        await self._append(tenant, study_id, Place(), [record(created)])
        return await self.read(tenant, study_id)

    async def append(self, tenant: str, study: StudySoFar, payloads: Sequence[Message]) -> None:
        """Append where the fold ends, in order; the fold goes on with it.

        Raises LostRace when somebody else was first: read again and decide anew.
        """
        for batch in split([record(payload) for payload in payloads]):
            message = await self._append(tenant, study.study_id, study.place, batch)
            log_id = log_of_study(study.study_id)
            self._take(study, list(events(log_id, message)), study.place.after(message))

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

    def _take(self, study: StudySoFar, found: Sequence[Event], place: Place) -> None:
        if place.seq <= study.place.seq:
            return
        for event in found:
            if event.seq > study.place.seq:
                study.apply(event)
        study.place = place


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
