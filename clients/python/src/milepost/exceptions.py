"""Everything the client raises, and how a failed call becomes one of these.

    MilepostError                  reason, message, metadata, violations, retry_after_s
    ├── InvalidArgument            FIELD_INVALID, SCENARIO_INVALID, SCENARIO_TOO_LARGE, PAGE_TOKEN_INVALID …
    ├── NotFound                   SESSION_NOT_FOUND, SCENARIO_NOT_FOUND, BLOB_NOT_FOUND, CHECKPOINT_NOT_FOUND,
    │                              STUDY_NOT_FOUND, TEMPLATE_NOT_FOUND
    ├── AlreadyExists              SESSION_EXISTS, STUDY_EXISTS, REQUEST_ID_REUSED
    ├── FailedPrecondition         INVALID_TRANSITION, COMMAND_REJECTED
    ├── OutOfRange                 CURSOR_TOO_OLD, CURSOR_BEYOND_HEAD, TIME_NOT_REACHED
    ├── Aborted                    CONTENDED, ETAG_MISMATCH
    ├── ResourceExhausted          QUOTA_EXCEEDED, LOG_FULL, WATCHER_TOO_SLOW
    ├── Unavailable                BROKER_UNAVAILABLE, STORE_UNAVAILABLE, NOT_STORED_YET, DRAINING, NO_WORKER …;
    │                              UNREACHABLE
    ├── DeadlineExceeded           DEADLINE_EXCEEDED
    ├── DataLoss                   DIGEST_MISMATCH
    ├── Denied                     PERMISSION_DENIED, UNAUTHENTICATED
    ├── ServerFault                INTERNAL and every status that is no answer to the call
    ├── LogGapError                LOG_GAP: a watched log had a hole; never expected
    ├── ScenarioFilesError         SCENARIO_FILES: the local files make no scenario
    └── InputFileError             INPUT_FILE: a YAML file that is wrong; `violations` name `file:line:column`

`reason` is the name of a value of `milepost.errors.v1.ErrorReason` without its prefix where the server sent
one (it does with every refusal), else the name of the gRPC status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request, or one file (`path:line`) of a scenario, and what is wrong with it."""

    field: str
    description: str


# Reason of an Unavailable that no server of ours sent: the connection failed.
UNREACHABLE = "UNREACHABLE"


class MilepostError(Exception):
    """A call that failed for good.

    `metadata` and `violations` are the server's ErrorInfo.metadata and BadRequest; `retry_after_s` is how
    long it asked to wait before another try, seconds.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s


class InvalidArgument(MilepostError):
    """The request is wrong, whatever the server's state; `violations` says where."""


class NotFound(MilepostError):
    """No such thing."""


class AlreadyExists(MilepostError):
    """The id is taken, or the request id was used for something else."""


class FailedPrecondition(MilepostError):
    """Not legal in the session's state; `metadata` holds `from`, `verb` and `legal_verbs`.

    Or (COMMAND_REJECTED) not possible in the simulation; `metadata` holds `command_id` and maybe `field`.
    """


class OutOfRange(MilepostError):
    """Outside the log, or not reached yet; `metadata` holds `oldest_seq`, `head_seq` or `sim_time_s`."""


class Aborted(MilepostError):
    """Others wrote to the session at the same time, or (ETAG_MISMATCH) since it was read."""


class ResourceExhausted(MilepostError):
    """A limit was met."""


class Unavailable(MilepostError):
    """The server, its broker or its store did not answer for as long as the client was willing to try."""


class DeadlineExceeded(MilepostError):
    """The call took too long. What it asked for may have happened."""


class DataLoss(MilepostError):
    """Bytes do not have the digest they should have."""


class Denied(MilepostError):
    """Not allowed, or not known who asks."""


class ServerFault(MilepostError):
    """A defect of the server; `metadata` holds `correlation_id` where it gave one."""


class LogGapError(MilepostError):
    """A watched log skipped an event."""

    def __init__(self, session_id: str, *, expected_seq: int, actual_seq: int) -> None:
        super().__init__("LOG_GAP", f"log of {session_id}: expected seq {expected_seq}, got {actual_seq}")
        self.expected_seq = expected_seq
        self.actual_seq = actual_seq


class ScenarioFilesError(MilepostError):
    """Local files that make no scenario: missing, ambiguous, a symbolic link, too many."""

    def __init__(self, message: str) -> None:
        super().__init__("SCENARIO_FILES", message)


class InputFileError(MilepostError):
    """A file that somebody wrote is wrong; each of `violations` names a place, `file:line:column`."""

    def __init__(self, name: str, violations: Sequence[Violation]) -> None:
        first = violations[0]
        super().__init__("INPUT_FILE", f"{name}: {first.field}: {first.description}", violations=violations)


_FAMILIES: dict[grpc.StatusCode, type[MilepostError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.DATA_LOSS: DataLoss,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAUTHENTICATED: Denied,
}
# One of these without ErrorInfo was made by the transport.
_BROKEN_TRANSPORT = {grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}


def from_rpc_error(error: grpc.aio.AioRpcError) -> MilepostError:
    """The typed form of a failed call."""
    code = error.code()
    status = rpc_status.from_call(cast(grpc.Call, error)) or status_pb2.Status()
    typed = _typed(code, error.details() or code.name, status)
    # Our servers send ErrorInfo with every refusal.
    refused = any(detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for detail in status.details)
    if not refused and (code is grpc.StatusCode.UNAVAILABLE or code in _BROKEN_TRANSPORT):
        return Unavailable(UNREACHABLE, typed.message)
    return typed


def from_status(status: status_pb2.Status) -> MilepostError:
    """The typed form of a status within an answer: what became of one item of a batch."""
    code = next((code for code in grpc.StatusCode if code.value[0] == status.code), grpc.StatusCode.UNKNOWN)
    return _typed(code, status.message, status)


def _typed(code: grpc.StatusCode, message: str, status: status_pb2.Status) -> MilepostError:
    """With the reason of the server's refusal where it sent one, else the name of the code."""
    reason, metadata, violations, retry_after_s = code.name, {}, [], None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            fields = error_details_pb2.BadRequest.FromString(detail.value).field_violations
            violations = [Violation(field=v.field, description=v.description) for v in fields]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_after_s = delay.ToTimedelta().total_seconds()
    family = _FAMILIES.get(code, ServerFault)
    return family(reason, message, metadata=metadata, violations=violations, retry_after_s=retry_after_s)
