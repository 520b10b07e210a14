"""One table from reason to status."""

import grpc
import pytest
from google.rpc import error_details_pb2

from milepost.errors.v1 import errors_pb2
from milepost.errors.v1.errors_pb2 import ErrorReason
from milepost.session.v1.session_service_pb2 import CreateSessionRequest
from runtime.errors import CallRefused, status_code, to_status
from runtime.grpc_calls import validate


@pytest.mark.parametrize("reason", [number for number in ErrorReason.values() if number])
def test_every_reason_has_a_status_that_is_an_error(reason: ErrorReason.ValueType) -> None:
    assert status_code(reason) not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)


def test_a_broken_rule_names_its_field() -> None:
    with pytest.raises(CallRefused) as refused:
        validate(CreateSessionRequest(session_id="Not An Id", request_id="no-uuid"))
    assert refused.value.reason == errors_pb2.ERROR_REASON_FIELD_INVALID
    assert {violation.field for violation in refused.value.violations} == {"session_id", "request_id", "spec"}


def test_a_refusal_travels_with_reason_fields_and_delay() -> None:
    with pytest.raises(CallRefused) as refused:
        validate(CreateSessionRequest(session_id="-"))
    refused.value.retry_after_s = 1.5
    status = to_status(refused.value)
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    error, bad_request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for packed, message in zip(status.details, (error, bad_request, retry), strict=True):
        assert packed.Unpack(message)
    assert (error.reason, error.domain) == ("FIELD_INVALID", "milepost")
    assert [violation.field for violation in bad_request.field_violations] == ["session_id", "spec"]
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5
