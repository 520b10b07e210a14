"""The commands a round gives, as calls of the contract."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from milepost.client import Milepost
from milepost.session.v1 import session_service_pb2 as calls
from milepost.session.v1.session_service_pb2_grpc import SessionServiceStub

# Verbs by the name of their field in CommandRequested; each with its method.
_METHODS = {
    "cancel": "CancelSession",
    "terminate": "TerminateSession",
    "suspend": "SuspendSession",
    "resume": "ResumeSession",
    "restart": "RestartSession",
    "rollback": "RollbackSession",
    "checkpoint": "CreateCheckpoint",
    "intervene": "ApplyIntervention",
    "set_pace": "SetPace",
    "step": "StepSession",
    "run_until": "RunUntil",
    "fork": "ForkSession",
}
VERBS = tuple(_METHODS)
# How long a call may wait for its worker, s; the outcome is in the log anyway.
_CALL_S = 5.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What a command may refer to: edges of the session's scenario, and its simulated time."""

    edge_ids: Sequence[str]
    begin_s: float
    length_s: float


def command(
    client: Milepost, verb: str, session_id: str, command_id: str, *, pick: float, ground: Ground
) -> Callable[[], Awaitable[Message]]:
    """The call, tried again by the client as all its calls; `pick` of 0 to 1 says what exactly is asked for."""
    connection = client.sessions._connection
    method = getattr(SessionServiceStub(connection.channel), _METHODS[verb])
    request_type = getattr(calls, f"{_METHODS[verb]}Request")
    named = {"new_session_id": fork_id(session_id, command_id)} if verb == "fork" else {}
    request = request_type(session_id=session_id, request_id=command_id, **named, **_arguments(verb, pick, ground))

    async def call() -> Message:
        answer: Message = await connection.call(lambda timeout_s: method(request, timeout=min(timeout_s, _CALL_S)))
        return answer

    return call


def fork_id(session_id: str, command_id: str) -> str:
    """What a fork is called."""
    return f"{session_id}-{command_id[:4]}"


async def verify(client: Milepost, session_id: str, run: int) -> calls.VerifySessionResponse:
    """Have a run simulated again from its log alone."""
    connection = client.sessions._connection
    stub = SessionServiceStub(connection.channel)
    request = calls.VerifySessionRequest(session_id=session_id, run=run)
    return await connection.call(lambda timeout_s: stub.VerifySession(request, timeout=timeout_s))


def _arguments(verb: str, pick: float, ground: Ground) -> dict[str, Any]:
    match verb:
        case "fork" if pick < 0.5:
            # Here and now.
            return {}
        case "rollback" | "fork":
            return {"sim_time_s": ground.begin_s + 100.0 * int(pick * 5)}
        case "set_pace":
            # At 1, as fast as possible.
            return {"paused": True} if pick < 0.5 else {"factor": 2000.0 * pick if pick < 1 else 0.0}
        case "step":
            return {"steps": 1 + int(pick * 100)}
        case "run_until":
            return {"sim_time_s": ground.begin_s + pick * ground.length_s}
        case "intervene":
            return {"intervention": _intervention(pick, ground)}
        case _:
            return {}


def _intervention(pick: float, ground: Ground) -> dict[str, Any]:
    edge_id = ground.edge_ids[int(pick * 1000) % len(ground.edge_ids)]
    if pick < 0.4:
        return {"set_speed_limit": {"place": {"edge_ids": [edge_id]}, "speed_mps": 2.0 + 20 * pick}}
    if pick < 0.7:
        return {"scale_demand": {"factor": 0.5 + pick}}
    return {"reroute": {}}
