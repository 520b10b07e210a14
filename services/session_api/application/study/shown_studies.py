"""Studies as callers know them: one that was deleted is not there, however long its log stays."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Event
from runtime.errors import CallRefused
from session_api.application.study.study_logs import StudyLogs, study_not_found
from session_api.application.study.study_state import StudySoFar


@dataclass(frozen=True, slots=True)
class ShownStudies:
    """Over the logs of all."""

    logs: StudyLogs

    async def read(self, tenant: str, study_id: str) -> StudySoFar:
        """The study up to now. Raises CallRefused(STUDY_NOT_FOUND)."""
        return _shown(await self.logs.read(tenant, study_id))

    async def read_after(self, tenant: str, study_id: str, *, after_seq: int) -> tuple[StudySoFar, Sequence[Event]]:
        """The study up to now, and its events after a seq; raises as `read`."""
        study, events = await self.logs.read_after(tenant, study_id, after_seq=after_seq)
        return _shown(study), events


async def found(reading: Awaitable[StudySoFar]) -> StudySoFar | None:
    """What is read; None when it is not there."""
    try:
        return await reading
    except CallRefused as refused:
        if refused.reason != errors_pb2.ERROR_REASON_STUDY_NOT_FOUND:
            raise
        return None


def _shown(study: StudySoFar) -> StudySoFar:
    if study.deleted:
        raise study_not_found(study.study_id)
    return study
