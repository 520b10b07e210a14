"""The one exception a use case raises to refuse a call, and its form on the wire.

The table from reason to gRPC status is the contract itself: an option on each value of
`milepost.errors.v1.ErrorReason`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from milepost.errors.v1.errors_pb2 import ErrorReason
from milepost.options.v1 import options_pb2

DOMAIN = "milepost"
_PREFIX = "ERROR_REASON_"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field (or file) and what is wrong with it."""

    field: str
    description: str


@dataclass(eq=False)
class CallRefused(Exception):
    """A call that is refused, for a reason of the table.

    `reason` is a value of ErrorReason; `metadata` goes into ErrorInfo, `violations` into BadRequest,
    `quota_violations` (whose field is the subject of the quota) into QuotaFailure, `retry_after_s` into RetryInfo.
    """

    reason: ErrorReason.ValueType
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[FieldViolation] = ()
    retry_after_s: float | None = None
    quota_violations: Sequence[FieldViolation] = ()

    def __str__(self) -> str:
        return f"{reason_name(self.reason)}: {self.message}"


def reason_name(reason: ErrorReason.ValueType) -> str:
    """Name of a reason as ErrorInfo carries it, without prefix."""
    return ErrorReason.Name(reason).removeprefix(_PREFIX)


def status_code(reason: ErrorReason.ValueType) -> grpc.StatusCode:
    """gRPC status of a reason, as the contract's table has it."""
    options = ErrorReason.DESCRIPTOR.values_by_number[reason].GetOptions()
    return _CODES[options.Extensions[options_pb2.status]]


def to_status(refused: CallRefused) -> status_pb2.Status:
    """The `google.rpc.Status` a refused call leaves with."""
    details: list[Any] = []

    def add(message: Message) -> None:
        packed = Any()
        packed.Pack(message)
        details.append(packed)

    add(error_details_pb2.ErrorInfo(reason=reason_name(refused.reason), domain=DOMAIN, metadata=dict(refused.metadata)))
    if refused.violations:
        add(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                    for v in refused.violations
                ]
            )
        )
    if refused.quota_violations:
        add(
            error_details_pb2.QuotaFailure(
                violations=[
                    error_details_pb2.QuotaFailure.Violation(subject=v.field, description=v.description)
                    for v in refused.quota_violations
                ]
            )
        )
    if refused.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(int(refused.retry_after_s * 1000))
        add(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(code=status_code(refused.reason).value[0], message=refused.message, details=details)
