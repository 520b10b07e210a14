"""Writing studies into lists, within a transaction of the caller's."""

from collections.abc import Sequence
from datetime import UTC

from sqlalchemy.ext.asyncio import AsyncConnection

from milepost.event.v1.event_pb2 import Event
from milepost.study.v1.study_pb2 import Study, StudyState
from session_api.gateways.tables import studies
from session_api.gateways.upsert import upsert
from session_log.codec import study_of_log

DELETED = StudyState.STUDY_STATE_UNSPECIFIED
"""State of a row whose study was deleted; it stays until the sessions are deleted, too."""


async def put_study(connection: AsyncConnection, tenant: str, study: Study) -> None:
    """Write a study's row, within a transaction of the caller's; one that is further stays."""
    row = {
        "tenant": tenant,
        "study_id": study.study_id,
        "create_time": study.create_time.ToDatetime(UTC).replace(tzinfo=None),
        "state": study.state,
        "seq": study.seq,
        "resource": study.SerializeToString(),
    }
    await upsert(connection, studies, [row], lasting=("create_time",), rising="seq")


def is_noted(event: Event) -> bool:
    """Whether `note_studies` wants an event."""
    return event.HasField("study_created") or event.HasField("study_deleted")


async def note_studies(connection: AsyncConnection, events: Sequence[tuple[str, Event]]) -> None:
    """Studies among stored (tenant, event) pairs that have begun, or were deleted, in order per study.

    Whoever wrote that may have died before it was noted. How they go on is noted by whoever runs them.
    """
    for tenant, event in events:
        study_id = study_of_log(event.session_id)
        if study_id is not None and event.HasField("study_created"):
            await put_study(connection, tenant, begun(study_id, event))
        elif study_id is not None and event.HasField("study_deleted"):
            await put_study(connection, tenant, Study(study_id=study_id, state=DELETED, seq=event.seq))


def begun(study_id: str, first: Event) -> Study:
    """A study of which only the first event is known."""
    created = first.study_created
    return Study(
        study_id=study_id,
        display_name=created.display_name,
        labels=created.labels,
        state=StudyState.STUDY_STATE_RUNNING,
        seq=first.seq,
        create_time=first.record_time,
        owner=created.subject,
    )
