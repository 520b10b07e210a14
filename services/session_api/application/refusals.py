"""Refusals that several use cases have in common."""

from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused, FieldViolation
from session_api.domain.quota import OverQuota
from session_api.gateways.projected import Outcome
from session_log.domain.lifecycle import IllegalVerb, legal_verbs


def not_found(session_id: str) -> CallRefused:
    """SESSION_NOT_FOUND."""
    return CallRefused(
        errors_pb2.ERROR_REASON_SESSION_NOT_FOUND,
        f"no session {session_id!r}",
        metadata={"session_id": session_id},
    )


def not_stored_yet(message: str) -> CallRefused:
    """NOT_STORED_YET."""
    return CallRefused(errors_pb2.ERROR_REASON_NOT_STORED_YET, message, retry_after_s=1.0)


def field_invalid(field: str, description: str) -> CallRefused:
    """FIELD_INVALID of one field."""
    return fields_invalid([FieldViolation(field, description)])


def fields_invalid(violations: list[FieldViolation]) -> CallRefused:
    """FIELD_INVALID."""
    return CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        "; ".join(f"{v.field}: {v.description}" for v in violations),
        violations=violations,
    )


def checkpoint_not_found(checkpoint_id: str) -> CallRefused:
    """CHECKPOINT_NOT_FOUND."""
    return CallRefused(
        errors_pb2.ERROR_REASON_CHECKPOINT_NOT_FOUND,
        f"no checkpoint {checkpoint_id!r} of this session",
        metadata={"checkpoint_id": checkpoint_id},
    )


def time_not_reached(sim_time_s: float, head_time_s: float) -> CallRefused:
    """TIME_NOT_REACHED."""
    return CallRefused(
        errors_pb2.ERROR_REASON_TIME_NOT_REACHED,
        f"{sim_time_s} s was not reached; the session is at {head_time_s} s",
        metadata={"sim_time_s": str(head_time_s)},
    )


def quota_exceeded(tenant: str, over: OverQuota) -> CallRefused:
    """QUOTA_EXCEEDED."""
    words = f"{over.used} of {over.limit} {over.quota.replace('_', ' ')} are in use"
    return CallRefused(
        errors_pb2.ERROR_REASON_QUOTA_EXCEEDED,
        f"the quota of tenant {tenant!r} is used up: {words}",
        metadata={"quota": over.quota, "limit": str(over.limit), "used": str(over.used)},
        quota_violations=[FieldViolation(f"tenant:{tenant}", words)],
        retry_after_s=max(over.retry_after_s, 0.1),
    )


def no_worker(message: str) -> CallRefused:
    """NO_WORKER."""
    return CallRefused(errors_pb2.ERROR_REASON_NO_WORKER, message, retry_after_s=1.0)


def rejected(outcome: Outcome) -> CallRefused:
    """COMMAND_REJECTED, in the worker's words."""
    metadata = {"command_id": outcome.command_id} | ({"field": outcome.field} if outcome.field else {})
    violations = [FieldViolation(outcome.field, outcome.message)] if outcome.field else []
    return CallRefused(
        errors_pb2.ERROR_REASON_COMMAND_REJECTED, outcome.message, metadata=metadata, violations=violations
    )


def illegal_verb(illegal: IllegalVerb) -> CallRefused:
    """INVALID_TRANSITION, with what is legal instead."""
    verbs = ", ".join(verb.value for verb in legal_verbs(illegal.state, deleted=illegal.deleted))
    return CallRefused(
        errors_pb2.ERROR_REASON_INVALID_TRANSITION,
        f"{illegal}; legal now: {verbs}",
        metadata={"from": illegal.state.name, "verb": illegal.verb.value, "legal_verbs": verbs},
    )
