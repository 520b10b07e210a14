"""A session API that serves, on a real broker and a real store, and a worker played by the test.

    async with running_api(folder, broker.url) as api:
        session = await api.create()
        worker = await api.worker(session.session_id).begin()
        await worker.simulate(to_step=50)

The played worker appends what a worker appends; it simulates nothing.
"""

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).parents[1] / "event_store"))

from running_store import Store, running_store

from databases import url_of
from milepost.admin.v1.admin_service_pb2_grpc import SessionAdminServiceStub
from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import (
    AttemptClaimed,
    CheckpointCommitted,
    CommandApplied,
    CommandRequested,
    Event,
    IntervalClosed,
    RunStarted,
)
from milepost.intervention.v1.intervention_pb2 import AddVehicle, Intervention
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub
from milepost.scenario.v1.template_service_pb2_grpc import TemplateServiceStub
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Execution, Session, SessionSpec
from milepost.session.v1.session_service_pb2_grpc import SessionServiceStub
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from runtime.process import Lifetime
from runtime.settings import DEFAULT_TENANT
from session_api.main import serve
from session_api.settings import SessionApiSettings
from session_log.codec import record
from session_log.reader import LogReader, LogSoFar
from session_log.writer import LogWriter, LostRace

PATIENCE_S = 20.0
INTERVAL_STEPS = 10
# Where the demo city's scene begins, simulated seconds; its steps are one second long.
BEGIN_S = 25200.0
EXECUTION = Execution(sumo_version="1.28.0", libm_fingerprint="libm", worker_id="w")


class PlayedWorker:
    """Writes a session's log as its worker would."""

    def __init__(self, api: "Api", session_id: str, worker_id: str = "w") -> None:
        self.api, self.session_id, self.worker_id = api, session_id, worker_id
        self.step = 0
        self._nonce = uuid.uuid4().hex

    async def log(self) -> LogSoFar:
        return await self.api.reader.read(DEFAULT_TENANT, self.session_id)

    async def append(self, *payloads: Message, run: int = 0) -> None:
        """One batch, at the step it stands at."""
        records = [record(payload, step=self.step, sim_time_s=BEGIN_S + self.step) for payload in payloads]
        while True:
            log = await self.log()
            attempt = max([log.life.attempt, *(p.attempt for p in payloads if isinstance(p, AttemptClaimed))])
            writer = LogWriter(
                self.api.js, tenant=DEFAULT_TENANT, session_id=self.session_id, place=log.place, nonce=self._nonce
            )
            with contextlib.suppress(LostRace):
                await writer.append(records, run=run or log.life.run, attempt=attempt)
                return

    async def begin(self, step: int = 0) -> "PlayedWorker":
        """Claim, and stand at a step."""
        attempt = (await self.log()).life.attempt + 1
        await self.append(AttemptClaimed(attempt=attempt, worker_id=self.worker_id))
        self.step = step
        await self.append(RunStarted(execution=EXECUTION, begin_time_s=BEGIN_S, step_length_s=1))
        return self

    async def simulate(self, to_step: int) -> None:
        """Close intervals; the last may be a shorter one."""
        while self.step < to_step:
            self.step = min(to_step, self.step - self.step % INTERVAL_STEPS + INTERVAL_STEPS)
            digest = self.step.to_bytes(16, "big")
            await self.append(IntervalClosed(kpis=Kpis(arrived=self.step), state_digest=digest))

    async def next_command(self) -> CommandRequested:
        """The first command without an outcome, once there is one."""
        async with asyncio.timeout(PATIENCE_S):
            while not (open_commands := (log := await self.log()).life.open_commands):
                await asyncio.sleep(0.01)
        return log.requests[open_commands[0].command_id]

    async def apply(self, *besides: Message) -> CommandRequested:
        """Carry the next command out; `besides` follow in the same batch."""
        command = await self.next_command()
        await self.append(CommandApplied(command_id=command.command_id), *besides)
        return command

    async def make_checkpoint(self) -> Checkpoint:
        """Carry the next command out, a CreateCheckpoint."""
        command = await self.next_command()
        log = await self.log()
        made = Checkpoint(
            checkpoint_id=command.checkpoint.checkpoint_id,
            run=log.life.run,
            step=self.step,
            sim_time_s=BEGIN_S + self.step,
            journal_length=await self.journal_length(),
            name=command.checkpoint.name,
        )
        await self.append(CheckpointCommitted(checkpoint=made), CommandApplied(command_id=command.command_id))
        return made

    async def journal_length(self) -> int:
        return len((await self.api.reader.read_past(DEFAULT_TENANT, self.session_id)).journal)


class Api:
    """Where it serves, stubs, and what the test plays the worker with."""

    def __init__(self, address: str, js: Any, store: Store) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address)
        self.sessions: Any = SessionServiceStub(self.channel)
        self.scenarios: Any = ScenarioServiceStub(self.channel)
        self.templates: Any = TemplateServiceStub(self.channel)
        self.admin: Any = SessionAdminServiceStub(self.channel)
        self.js, self.broker, self.store = js, js._nc, store
        self.reader = LogReader(store.events, js)
        self.scenario_digest = ""

    async def create(self, *, session_id: str = "", create_only: bool = False, **spec: Any) -> Session:
        """A session of the demo city."""
        if not self.scenario_digest:
            demo = await self.sessions.CreateDemoSession(pb.CreateDemoSessionRequest())
            self.scenario_digest = demo.session.spec.scenario_digest
        wanted = SessionSpec(**{"scenario_digest": self.scenario_digest, "interval_steps": INTERVAL_STEPS, **spec})
        request = pb.CreateSessionRequest(session_id=session_id, spec=wanted, create_only=create_only)
        return (await self.sessions.CreateSession(request)).session

    def worker(self, session_id: str, worker_id: str = "w") -> PlayedWorker:
        return PlayedWorker(self, session_id, worker_id)

    async def running(self, to_step: int = 0, **spec: Any) -> PlayedWorker:
        """A new session with a worker that has simulated so far."""
        session = await self.create(**spec)
        worker = await self.worker(session.session_id).begin()
        await worker.simulate(to_step)
        return worker

    async def change_much(self, worker: PlayedWorker) -> Intervention:
        """An intervention too large for the first event of a fork, where the worker stands."""
        edges = [f"edge-{number:020d}" for number in range(1000)]
        change = Intervention(add_vehicle=AddVehicle(vehicle_id="far", route_edges=edges))
        request = pb.ApplyInterventionRequest(session_id=worker.session_id, intervention=change)
        asked = asyncio.ensure_future(self.sessions.ApplyIntervention(request, timeout=PATIENCE_S))
        await worker.apply()
        await asked
        return change

    async def get(self, session_id: str) -> Session:
        request = pb.GetSessionRequest(session_id=session_id, view=pb.SESSION_VIEW_FULL)
        return (await self.sessions.GetSession(request)).session

    async def until(self, session_id: str, condition: Callable[[Session], object]) -> Session:
        """The session once a condition holds of it."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(session := await self.get(session_id)):
                await asyncio.sleep(0.01)
        return session

    async def kinds(self, session_id: str, after: int = 0) -> list[str]:
        """Kinds of the events of a log, as the store has it; waits until it has everything."""
        return [event.WhichOneof("payload") or "" for event in await self.events(session_id) if event.seq > after]

    async def events(self, session_id: str) -> list[Event]:
        head = (await self.reader.read(DEFAULT_TENANT, session_id)).place.seq
        async with asyncio.timeout(PATIENCE_S):
            while len(found := await self.store.whole_log(session_id)) < head:
                await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def running_api(
    folder: Path,
    nats_url: str,
    *,
    of_store: Mapping[str, Any] | None = None,
    listen: str = "127.0.0.1:0",
    **changed: Any,
) -> AsyncIterator[Api]:
    """A store and an API in this process."""
    async with running_store(folder / "store", nats_url, **(of_store or {})) as store:
        if "database_url" not in changed:
            changed["database_url"] = url_of(folder / "api.db")
        settings = SessionApiSettings(
            nats_url=nats_url,
            listen=listen,
            metrics_listen="127.0.0.1:0",
            event_store=json.loads((folder / "store" / "ready.json").read_text())["address"],
            ready_file=folder / "api.json",
            **changed,
        )
        async with serving(settings) as address:
            client = await connect(nats_url, name="test", appends=True)
            js = jetstream(client)
            await ensure_streams(js)
            api = Api(address, js, store)
            try:
                yield api
            finally:
                await api.channel.close()
                await disconnect(client)


@contextlib.asynccontextmanager
async def serving(settings: SessionApiSettings) -> AsyncIterator[str]:
    """An API in this process; where it serves."""
    ready = settings.ready_file
    assert ready is not None
    ready.unlink(missing_ok=True)
    lifetime = Lifetime(settings, "")
    running = asyncio.create_task(serve(settings, lifetime))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not ready.exists():
                await asyncio.wait({running}, timeout=0.01)
                assert not running.done(), running.result()
        yield json.loads(ready.read_text())["address"]
    finally:
        lifetime.stop.set()
        await asyncio.wait_for(running, PATIENCE_S)


class Refusal:
    """What a refused call left with."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.reason, self.metadata, self.fields = error.code(), "", {}, []
        status = status_pb2.Status()
        for key, value in error.trailing_metadata() or ():
            if key == rpc_status.GRPC_DETAILS_METADATA_KEY:
                status.ParseFromString(value)
        self.details = list(status.details)
        for packed in self.details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if packed.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            if packed.Unpack(bad):
                self.fields = [violation.field for violation in bad.field_violations]


async def refusal(call: Awaitable[Any]) -> Refusal:
    """How a call is refused; fails when it is not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return Refusal(error)
    raise AssertionError(f"not refused: {answer}")
