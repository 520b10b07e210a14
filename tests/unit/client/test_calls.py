"""Calls: what is tried again, with which request id, and what a failure becomes."""

import uuid

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc.aio import Metadata
from refusal import Refusal

from milepost.client import Milepost, event_store_beside
from milepost.errors.v1.errors_pb2 import ErrorReason
from milepost.exceptions import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServerFault,
    Unavailable,
    Violation,
    from_rpc_error,
)
from milepost.options.v1 import options_pb2
from milepost.session.v1.session_pb2 import Session, SessionSpec
from milepost.session.v1.session_service_pb2 import (
    CancelSessionRequest,
    CancelSessionResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
)
from milepost.session.v1.session_service_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server

SPEC = SessionSpec(scenario_digest="0" * 64, seed=1)


class ScriptedSessions(SessionServiceServicer):
    """Refuses as often as it has refusals, then obliges; keeps what it was asked."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = list(refusals)
        self.asked: list[Message] = []

    async def _take(self, request: Message, context: grpc.aio.ServicerContext) -> None:
        self.asked.append(request)
        if self.refusals:
            await self.refusals.pop(0).send(context)

    async def CreateSession(self, request: CreateSessionRequest, context):  # noqa: N802
        await self._take(request, context)
        return CreateSessionResponse(session=Session(session_id="s"))

    async def CancelSession(self, request: CancelSessionRequest, context):  # noqa: N802
        await self._take(request, context)
        return CancelSessionResponse(session=Session(session_id="s"))

    async def ListSessions(self, request: ListSessionsRequest, context):  # noqa: N802
        await self._take(request, context)
        last = request.page_token == "b"
        sessions = [Session(session_id=f"{request.page_token or 'first'}-{n}") for n in range(2)]
        return ListSessionsResponse(sessions=sessions, next_page_token="" if last else "b")


async def client_of(connect, servicer: ScriptedSessions, **options: float) -> Milepost:
    return await connect(lambda server: add_SessionServiceServicer_to_server(servicer, server), **options)


async def test_a_creation_is_tried_again_with_the_same_request_id_until_the_server_is_back(connect):
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "BROKER_UNAVAILABLE")
    servicer = ScriptedSessions(away, away, Refusal(grpc.StatusCode.ABORTED, "CONTENDED"))
    client = await client_of(connect, servicer)

    session = await client.sessions.create(SPEC)

    assert session.session_id == "s"
    assert len(servicer.asked) == 4
    request_ids = {request.request_id for request in servicer.asked}
    assert len(request_ids) == 1
    assert str(uuid.UUID(request_ids.pop())) == servicer.asked[0].request_id


async def test_each_wish_has_a_request_id_of_its_own(connect):
    servicer = ScriptedSessions()
    client = await client_of(connect, servicer)

    await client.sessions.create(SPEC)
    await client.sessions.create(SPEC)
    await client.sessions.cancel("s")

    assert len({request.request_id for request in servicer.asked}) == 3


async def test_a_server_that_stays_away_is_given_up_with_its_own_reason(connect):
    servicer = ScriptedSessions(*[Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")] * 100)
    client = await client_of(connect, servicer, retry_for_s=0.5)

    with pytest.raises(Unavailable) as caught:
        await client.sessions.create(SPEC)

    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert 2 <= len(servicer.asked) < 10


async def test_the_server_says_how_long_to_wait(connect):
    later = Duration(seconds=5)
    servicer = ScriptedSessions(
        Refusal(grpc.StatusCode.UNAVAILABLE, "NOT_STORED_YET", error_details_pb2.RetryInfo(retry_delay=later))
    )
    client = await client_of(connect, servicer, retry_for_s=1)

    with pytest.raises(Unavailable) as caught:
        await client.sessions.create(SPEC)

    assert caught.value.retry_after_s == 5
    assert len(servicer.asked) == 1


@pytest.mark.parametrize(
    ("code", "reason", "family"),
    [
        (grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND", NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_TRANSITION", FailedPrecondition),
    ],
)
async def test_a_refusal_is_final_and_typed(connect, code, reason, family):
    metadata = {"from": "COMPLETED", "verb": "cancel"}
    servicer = ScriptedSessions(Refusal(code, reason, metadata=metadata))
    client = await client_of(connect, servicer)

    with pytest.raises(family) as caught:
        await client.sessions.cancel("s")

    assert caught.value.reason == reason
    assert caught.value.metadata == metadata
    assert caught.value.message == f"because {reason}"
    assert len(servicer.asked) == 1


async def test_findings_are_violations(connect):
    bad = error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="a.rou.xml:7", description="no such edge")]
    )
    servicer = ScriptedSessions(Refusal(grpc.StatusCode.INVALID_ARGUMENT, "SCENARIO_INVALID", bad))
    client = await client_of(connect, servicer)

    with pytest.raises(InvalidArgument) as caught:
        await client.sessions.create(SPEC)

    assert caught.value.violations == (Violation(field="a.rou.xml:7", description="no such edge"),)


async def test_nobody_there_is_unreachable(connect):
    async with Milepost.connect("127.0.0.1:1", retry_for_s=0.3) as client:
        with pytest.raises(Unavailable) as called:
            await client.sessions.get("s")
        with pytest.raises(Unavailable) as asked:
            await client.reachable(timeout_s=0.3)

    assert called.value.reason == asked.value.reason == "UNREACHABLE"
    assert "127.0.0.1:1" in asked.value.message


async def test_lists_are_read_page_by_page(connect):
    client = await client_of(connect, ScriptedSessions())

    found = [session.session_id async for session in client.sessions.list()]

    assert found == ["first-0", "first-1", "b-0", "b-1"]


CODES = {code.value[0]: code for code in grpc.StatusCode}
REASONS = [value for value in ErrorReason.DESCRIPTOR.values if value.number]


@pytest.mark.parametrize("value", REASONS, ids=lambda value: value.name)
def test_every_reason_of_the_contract_has_a_family_of_its_own_status(value):
    code = CODES[value.GetOptions().Extensions[options_pb2.status]]
    refusal = Refusal(code, value.name.removeprefix("ERROR_REASON_"))
    trailer = Metadata(("grpc-status-details-bin", refusal.status.SerializeToString()))

    error = from_rpc_error(grpc.aio.AioRpcError(code, Metadata(), trailer, details=refusal.status.message))

    assert error.reason == value.name.removeprefix("ERROR_REASON_")
    assert isinstance(error, ServerFault) == (code is grpc.StatusCode.INTERNAL)


def test_the_event_store_is_looked_for_at_the_next_port():
    assert event_store_beside("[::1]:7400") == "[::1]:7401"
    with pytest.raises(ValueError, match="not host:port"):
        event_store_beside("localhost")
