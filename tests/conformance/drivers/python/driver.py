"""The driver of the Python client (conformance.proto says what a driver is)."""

import asyncio
import os
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

sys.path.insert(0, str(Path(__file__).parents[3]))

from conformance.golden import TYPES, values_of
from conformance.messages import pb
from milepost.client import Milepost
from milepost.connection import Connection
from milepost.credentials import Credentials
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import CaughtUp, FellBehind, Heartbeat, Terminal
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.event.v1.frame_pb2 import Frame
from milepost.exceptions import UNREACHABLE, MilepostError, Unavailable
from milepost.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub
from milepost.scenario.v1.template_service_pb2_grpc import TemplateServiceStub
from milepost.session.v1.session_service_pb2_grpc import SessionServiceStub
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub

_STUBS: dict[str, Any] = {
    "milepost/session/v1/session_service.proto": SessionServiceStub,
    "milepost/study/v1/study_service.proto": StudyServiceStub,
    "milepost/scenario/v1/scenario_service.proto": ScenarioServiceStub,
    "milepost/scenario/v1/template_service.proto": TemplateServiceStub,
    "milepost/event/v1/event_service.proto": EventServiceStub,
    "milepost/event/v1/metrics.proto": EventServiceStub,
}
_CODES = {
    "InvalidArgument": grpc.StatusCode.INVALID_ARGUMENT,
    "NotFound": grpc.StatusCode.NOT_FOUND,
    "AlreadyExists": grpc.StatusCode.ALREADY_EXISTS,
    "FailedPrecondition": grpc.StatusCode.FAILED_PRECONDITION,
    "OutOfRange": grpc.StatusCode.OUT_OF_RANGE,
    "Aborted": grpc.StatusCode.ABORTED,
    "ResourceExhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "Unavailable": grpc.StatusCode.UNAVAILABLE,
    "DeadlineExceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "DataLoss": grpc.StatusCode.DATA_LOSS,
    "ScenarioFilesError": grpc.StatusCode.INVALID_ARGUMENT,
    "LogGapError": grpc.StatusCode.DATA_LOSS,
}


class PythonDriver:
    """Executes steps; keeps a client for each target."""

    def __init__(self, held: AsyncExitStack) -> None:
        self._held = held
        self._clients: dict[bytes, Milepost] = {}

    async def do(self, step: pb.Step) -> pb.Outcome:
        """The outcome of a step."""
        outcome = pb.Outcome(step_id=step.step_id)
        options = step.options
        deadline_s = options.deadline.ToTimedelta().total_seconds() if options.HasField("deadline") else None
        cancel_s = options.cancel_after.ToTimedelta().total_seconds() if options.HasField("cancel_after") else None
        try:
            async with asyncio.timeout(cancel_s), asyncio.timeout(deadline_s):
                await self._act(step, outcome, deadline_s)
        except MilepostError as error:
            outcome.error.CopyFrom(typed(error))
        except TimeoutError:
            name = "CANCELLED" if cancel_s is not None else "DEADLINE_EXCEEDED"
            error = pb.Error(code=grpc.StatusCode[name].value[0], reason=name)
            if outcome.HasField("watch"):
                outcome.watch.error.CopyFrom(error)
            else:
                outcome.error.CopyFrom(error)
        return outcome

    async def _act(self, step: pb.Step, outcome: pb.Outcome, deadline_s: float | None) -> None:
        client = await self._client(step.options.target)
        match step.WhichOneof("action"):
            case "create_session" if not step.HasField("options") or not step.options.metadata:
                created = await client.sessions.create(**wish_of(step.create_session))
                outcome.create_session.session.CopyFrom(created)
            case "create_and_wait":
                request = step.create_and_wait
                outcome.create_and_wait.CopyFrom(await client.sessions.run(request.spec))
            case "upload_scenario":
                upload = step.upload_scenario
                stored = await client.scenarios.upload(Path(upload.path), display_name=upload.display_name)
                outcome.upload_scenario.CopyFrom(stored)
            case "watch":
                outcome.watch.SetInParent()
                await watch(client, step.watch, outcome.watch)
            case "watch_all":
                await watch_all(client, step.watch_all, outcome.watch_all)
            case "watch_study":
                request = step.watch_study
                messages = client.studies.watch(
                    request.study_id, after_seq=request.after_seq, with_ranking=request.with_ranking
                )
                async for message in messages:
                    outcome.watch_study.CopyFrom(message)
            case "decode":
                outcome.decode.CopyFrom(decode(step.decode))
            case str() as action:
                answer = await self._call(client, action, step, deadline_s)
                getattr(outcome, action).CopyFrom(answer)

    async def _call(self, client: Milepost, action: str, step: pb.Step, deadline_s: float | None) -> Message:
        """A call of the contracts, as the client makes all of its own."""
        request = getattr(step, action)
        contract = request.DESCRIPTOR.file
        events = contract.package == "milepost.event.v1"
        connection: Connection = (client.events if events else client.sessions)._connection
        method = request.DESCRIPTOR.name.removesuffix("Request")
        call: Callable[..., Awaitable[Message]] = getattr(_STUBS[contract.name](connection.channel), method)
        metadata = tuple(step.options.metadata.items())
        return await connection.call(lambda left_s: call(request, timeout=deadline_s or left_s, metadata=metadata))

    async def _client(self, target: pb.Target) -> Milepost:
        key = target.SerializeToString(deterministic=True)
        if key not in self._clients:
            said = os.environ
            token = target.token if target.HasField("token") else said.get("MILEPOST_TOKEN", "")
            authorities = None
            if target.HasField("tls_ca_pem"):
                authorities = Path(self._held.enter_context(tempfile.TemporaryDirectory())) / "ca.pem"
                authorities.write_bytes(target.tls_ca_pem)
            server = target.server or said["MILEPOST_SERVER"]
            store = target.event_store or (None if target.server else said.get("MILEPOST_EVENT_STORE"))
            connecting = Milepost.connect(server, store, credentials=Credentials(token=token, tls_ca=authorities))
            self._clients[key] = await self._held.enter_async_context(connecting)
        return self._clients[key]


def wish_of(request: Any) -> dict[str, Any]:
    """A CreateSessionRequest as arguments of the client's verb."""
    return {
        "spec": request.spec,
        "session_id": request.session_id,
        "display_name": request.display_name,
        "labels": request.labels,
        "create_only": request.create_only,
        "wait_for_quota": request.wait_for_quota,
        "request_id": request.request_id or None,
    }


async def watch(client: Milepost, wish: pb.Watch, seen: pb.Watched) -> None:
    """Follow a log and note what is seen, up to where the wish says."""
    request = wish.request
    items = client.events.watch(
        request.session_id,
        after_seq=request.after_seq,
        kinds=request.kinds,
        phases=[it.name if it.WhichOneof("phase") == "name" else it.index for it in request.phases],
        frames=request.frames if request.HasField("frames") else None,
        slow_policy=request.slow_policy,
    )
    try:
        async for item in items:
            match item:
                case Event():
                    await note(item, wish, seen)
                    if len(seen.seqs) == wish.stop_after_events:
                        return
                case CaughtUp():
                    seen.caught_up += 1
                    if wish.stop_when_caught_up:
                        return
                case FellBehind():
                    seen.fell_behind += 1
                case Heartbeat():
                    seen.heartbeats += 1
                case Frame():
                    seen.frames += 1
                case Terminal():
                    seen.terminal.CopyFrom(item)
    except MilepostError as error:
        seen.error.CopyFrom(typed(error))
    finally:
        await items.aclose()


async def note(event: Event, wish: pb.Watch, seen: pb.Watched) -> None:
    """Note an event, and pause where the wish says so."""
    seen.seqs.append(event.seq)
    seen.kinds.append(event.DESCRIPTOR.fields_by_name[event.WhichOneof("payload") or ""].number)
    if wish.report_events:
        seen.events.add().CopyFrom(event)
    pause = wish.pause if len(seen.seqs) == wish.pause_after_events else wish.pause_per_event
    await asyncio.sleep(pause.ToTimedelta().total_seconds())


async def watch_all(client: Milepost, wish: pb.WatchAll, seen: pb.WatchedAll) -> None:
    """Follow all logs until everything stored has been seen."""
    request = wish.request
    messages = client.events.watch_all(
        after=request.after_position if request.HasField("after_position") else None,
        kinds=request.kinds,
        session_ids=request.session_ids,
        labels=request.labels,
        all_tenants=request.all_tenants,
    )
    try:
        async for message in messages:
            seen.events += len(message.events)
            seen.position.CopyFrom(message.position)
            if message.caught_up:
                return
    finally:
        await messages.aclose()


def decode(wish: pb.Decode) -> pb.Decoded:
    """A message read and written again."""
    message = TYPES[wish.message_type]()
    if wish.WhichOneof("form") == "json":
        json_format.Parse(wish.json, message)
    else:
        message.ParseFromString(wish.encoded)
    values = values_of(message) if isinstance(message, pb.Golden) else {}
    form = json_format.MessageToJson(message, preserving_proto_field_name=True)
    return pb.Decoded(encoded=message.SerializeToString(), values=values, json=form)


def typed(error: MilepostError) -> pb.Error:
    """The client's error, as the runner reads it."""
    family = type(error).__name__
    code = _CODES.get(family)
    if code is None:
        known = [name for name in ("PERMISSION_DENIED", "UNAUTHENTICATED") if name in _DENIED.get(error.reason, "")]
        code = grpc.StatusCode[known[0]] if known else grpc.StatusCode.INTERNAL
    said = pb.Error(
        code=code.value[0],
        reason=error.reason,
        domain="milepost" if not (isinstance(error, Unavailable) and error.reason == UNREACHABLE) else "",
        metadata=error.metadata,
        message=error.message,
    )
    for violation in error.violations:
        said.field_violations.add(field=violation.field, description=violation.description)
    if error.retry_after_s is not None:
        said.retry_delay.FromMicroseconds(round(error.retry_after_s * 1e6))
    return said


_DENIED = {"NOT_AUTHENTICATED": "UNAUTHENTICATED", "NOT_PERMITTED": "PERMISSION_DENIED"}


async def main() -> None:
    """Answer steps until there are none."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as held:
        driver = PythonDriver(held)
        while head := await loop.run_in_executor(None, sys.stdin.buffer.read, 4):
            (size,) = struct.unpack(">I", head)
            step = pb.Step.FromString(await loop.run_in_executor(None, sys.stdin.buffer.read, size))
            encoded = (await driver.do(step)).SerializeToString()
            sys.stdout.buffer.write(struct.pack(">I", len(encoded)) + encoded)
            sys.stdout.buffer.flush()


asyncio.run(main())
