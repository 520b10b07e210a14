"""Commands of a session: what each call asks for, and what waiting for a session's turns sees."""

import uuid
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from refusal import Refusal

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointPolicy
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import CommandApplied, Event
from milepost.event.v1.event_service_pb2 import EventList, WatchEventsRequest, WatchEventsResponse
from milepost.event.v1.event_service_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from milepost.exceptions import Aborted
from milepost.intervention.v1.intervention_pb2 import Intervention, ScaleDemand
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Limits, Pace, Session, SessionSpec, SessionState
from milepost.session.v1.session_service_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server

RUNNING = SessionState.SESSION_STATE_RUNNING
SUSPENDED = SessionState.SESSION_STATE_SUSPENDED
COMPLETED = SessionState.SESSION_STATE_COMPLETED
TWICE = Intervention(scale_demand=ScaleDemand(factor=2))


class ObligingSessions(SessionServiceServicer):
    """Says yes to everything, keeps what it was asked, and stands as it is told to."""

    def __init__(self, *standing: Session) -> None:
        self.standing = list(standing) or [Session(session_id="s", seq=1, pace=Pace(factor=3))]
        self.asked: list[Message] = []

    async def GetSession(self, _request: pb.GetSessionRequest, _context):  # noqa: N802
        return pb.GetSessionResponse(session=self.standing.pop(0) if len(self.standing) > 1 else self.standing[0])

    def __getattribute__(self, name: str) -> object:
        method = pb.DESCRIPTOR.services_by_name["SessionService"].methods_by_name.get(name)
        if method is None or name == "GetSession":
            return super().__getattribute__(name)
        answer = GetMessageClass(method.output_type)

        async def oblige(request: Message, _context: object) -> Message:
            self.asked.append(request)
            return answer()

        return oblige


async def client_of(connect, servicer: SessionServiceServicer, events: EventServiceServicer | None = None) -> Milepost:
    def register(server: grpc.aio.Server) -> None:
        add_SessionServiceServicer_to_server(servicer, server)
        add_EventServiceServicer_to_server(events or EventServiceServicer(), server)

    return await connect(register)


Call = Callable[[Milepost], Awaitable[object]]


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (lambda c: c.sessions.suspend("s"), pb.SuspendSessionRequest()),
        (lambda c: c.sessions.terminate("s"), pb.TerminateSessionRequest()),
        (lambda c: c.sessions.restart("s"), pb.RestartSessionRequest()),
        (lambda c: c.sessions.delete("s"), pb.DeleteSessionRequest()),
        (lambda c: c.sessions.undelete("s"), pb.UndeleteSessionRequest()),
        (lambda c: c.sessions.resume("s"), pb.ResumeSessionRequest()),
        (
            lambda c: c.sessions.resume("s", checkpoint_id="c", end_time_s=0),
            pb.ResumeSessionRequest(checkpoint_id="c", end_time_s=0),
        ),
        (
            lambda c: c.sessions.checkpoint("s", name="n", pinned=True, state_file=True),
            pb.CreateCheckpointRequest(name="n", pinned=True, state_file=True),
        ),
        (lambda c: c.sessions.pin_checkpoint("s", "c"), pb.PinCheckpointRequest(checkpoint_id="c", pinned=True)),
        (lambda c: c.sessions.pin_checkpoint("s", "c", pinned=False), pb.PinCheckpointRequest(checkpoint_id="c")),
        (lambda c: c.sessions.delete_checkpoint("s", "c"), pb.DeleteCheckpointRequest(checkpoint_id="c")),
        (lambda c: c.sessions.rollback("s", checkpoint_id="c"), pb.RollbackSessionRequest(checkpoint_id="c")),
        (lambda c: c.sessions.rollback("s", sim_time_s=0), pb.RollbackSessionRequest(sim_time_s=0)),
        (lambda c: c.sessions.fork("s"), pb.ForkSessionRequest()),
        (
            lambda c: c.sessions.fork(
                "s", sim_time_s=7, new_session_id="n", display_name="d", labels={"a": "b"}, end_time_s=9,
                interventions=[TWICE],
            ),
            pb.ForkSessionRequest(
                sim_time_s=7, new_session_id="n", display_name="d", labels={"a": "b"}, end_time_s=9,
                interventions=[TWICE],
            ),
        ),
        (
            lambda c: c.sessions.intervene("s", TWICE, comment="why", validate_only=True),
            pb.ApplyInterventionRequest(intervention=TWICE, comment="why", validate_only=True),
        ),
        (lambda c: c.sessions.pace("s", 2.5), pb.SetPaceRequest(factor=2.5)),
        (lambda c: c.sessions.pause("s"), pb.SetPaceRequest(factor=3, paused=True)),
        (lambda c: c.sessions.step("s"), pb.StepSessionRequest(steps=1)),
        (lambda c: c.sessions.run_until("s", 60), pb.RunUntilRequest(sim_time_s=60)),
    ],
)  # fmt: skip
async def test_each_command_asks_for_what_it_says_under_a_request_id(connect, call: Call, asked):
    servicer = ObligingSessions()
    client = await client_of(connect, servicer)

    await call(client)

    [request] = servicer.asked
    asked.session_id = "s"
    asked.request_id = str(uuid.UUID(request.request_id))
    assert request == asked


async def test_an_update_names_what_is_given_and_nothing_else(connect):
    servicer = ObligingSessions()
    client = await client_of(connect, servicer)

    await client.sessions.update(
        "s",
        display_name="",
        limits=Limits(wall_time_s=5),
        checkpoints=CheckpointPolicy(every_sim_s=60),
        stop_when_empty=False,
        clear=["spec.end_time_s"],
        etag="e",
    )

    [request] = servicer.asked
    assert list(request.update_mask.paths) == [
        "display_name", "spec.limits", "spec.checkpoints", "spec.stop_when_empty", "spec.end_time_s"
    ]  # fmt: skip
    assert request.spec == SessionSpec(limits=Limits(wall_time_s=5), checkpoints=CheckpointPolicy(every_sim_s=60))
    assert request.etag == "e"


async def test_two_places_at_once_are_refused_before_anybody_is_asked(connect):
    servicer = ObligingSessions()
    client = await client_of(connect, servicer)

    with pytest.raises(ValueError, match="not both"):
        await client.sessions.fork("s", checkpoint_id="c", sim_time_s=1)

    assert servicer.asked == []


async def test_a_checkpoint_that_is_not_made_yet_is_none(connect):
    client = await client_of(connect, ObligingSessions())

    assert await client.sessions.checkpoint("s") is None


async def test_a_checkpoint_that_was_made_is_given(connect):
    class Making(SessionServiceServicer):
        async def CreateCheckpoint(self, _request, _context):  # noqa: N802
            return pb.CreateCheckpointResponse(checkpoint=Checkpoint(checkpoint_id="c"))

    client = await client_of(connect, Making())

    made = await client.sessions.checkpoint("s")

    assert made is not None
    assert made.checkpoint_id == "c"


async def test_a_stale_etag_is_not_tried_again(connect):
    class Stale(SessionServiceServicer):
        asked = 0

        async def UpdateSession(self, _request, context):  # noqa: N802
            self.asked += 1
            await Refusal(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", metadata={"etag": "new"}).send(context)

    servicer = Stale()
    client = await client_of(connect, servicer)

    with pytest.raises(Aborted) as caught:
        await client.sessions.update("s", display_name="n", etag="old")

    assert (caught.value.reason, caught.value.metadata, servicer.asked) == ("ETAG_MISMATCH", {"etag": "new"}, 1)


class TurningEvents(EventServiceServicer):
    """Each watch gets one event that may be a turn, and then nothing; keeps where the watches began."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def WatchEvents(self, request: WatchEventsRequest, _context):  # noqa: N802
        self.asked.append(request.after_seq)
        for seq in range(request.after_seq + 1, 10):
            turn = Event(session_id="s", seq=seq, command_applied=CommandApplied())
            yield WatchEventsResponse(events=EventList(events=[turn]))


def at(seq: int, state: SessionState.ValueType) -> Session:
    return Session(session_id="s", seq=seq, state=state)


async def test_waiting_for_the_end_outlasts_a_suspension(connect):
    turns = TurningEvents()
    standing = ObligingSessions(at(1, RUNNING), at(2, SUSPENDED), at(3, RUNNING), at(4, COMPLETED))
    client = await client_of(connect, standing, turns)

    session = await client.sessions.wait("s")

    assert (session.seq, session.state) == (4, COMPLETED)
    assert turns.asked == [1]


async def test_waiting_for_a_state_ends_there_or_with_the_session(connect):
    suspended = await client_of(connect, ObligingSessions(at(1, RUNNING), at(2, SUSPENDED)), TurningEvents())
    ended = await client_of(connect, ObligingSessions(at(1, RUNNING), at(2, COMPLETED)), TurningEvents())
    there = await client_of(connect, ObligingSessions(at(1, SUSPENDED)), (unused := TurningEvents()))

    assert (await suspended.sessions.wait_for("s", SUSPENDED)).seq == 2
    assert (await ended.sessions.wait_for("s", SUSPENDED)).state == COMPLETED
    assert (await there.sessions.wait_for("s", SUSPENDED)).seq == 1
    assert unused.asked == []
