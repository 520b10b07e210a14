"""Refusals that several use cases of studies have in common."""

from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused
from session_api.gateways.studies_sql import StudyRequest


def request_id_reused(known: StudyRequest) -> CallRefused:
    """REQUEST_ID_REUSED."""
    return CallRefused(
        errors_pb2.ERROR_REASON_REQUEST_ID_REUSED,
        f"request_id {known.request_id} was used for another request",
        metadata={"study_id": known.study_id},
    )


def contended(study_id: str) -> CallRefused:
    """CONTENDED."""
    return CallRefused(
        errors_pb2.ERROR_REASON_CONTENDED, f"study {study_id!r} is written to too fast", retry_after_s=0.5
    )
