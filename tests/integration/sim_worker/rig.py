"""A worker with a real broker and store in one process; the test plays the session API by writing to the log."""

import asyncio
import gzip
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
from nats.js import JetStreamContext

from broker import Broker, running_broker
from event_store import main as event_store
from event_store.settings import EventStoreSettings
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.event.v1.event_pb2 import CommandRequested, Event, ForkPast, SessionCreated
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.event.v1.record_pb2 import Record
from milepost.intervention.v1.intervention_pb2 import Intervention, SetSpeedLimit
from milepost.intervention.v1.intervention_pb2 import Place as NetPlace
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import SessionSpec
from runtime.blobs import Blobs
from runtime.broker import connect, disconnect, jetstream
from runtime.process import Lifetime
from runtime.settings import DEFAULT_TENANT
from runtime.work_queue import DEFAULT_CLASS, Line
from scenario.demo import demo_directory
from scenario.inspect import inspect
from scenario.model import Manifest, ScenarioFile
from scenario.wire import scene_to_proto
from session_api.gateways.work_orders import WorkOrders
from session_log.broker_log import read_tail
from session_log.codec import event_kind, events, payload_of, record
from session_log.domain.fold import SessionLife
from session_log.facts import fold_event
from session_log.reader import LogReader
from session_log.writer import LogWriter, LostRace, Place
from sim_worker import main as sim_worker
from sim_worker.settings import SimWorkerSettings

POOL = "sumo-1_28_0"
LINE = Line(POOL, DEFAULT_CLASS, DEFAULT_TENANT)
LEASE_S = 2.0
PATIENCE_S = 60.0
CONFIG = "milton.sumocfg"
# Of the bundled city's seven o'clock, s.
BEGIN_S = 25200.0


class Rig:
    """The log, the orders and the processes of one worker."""

    def __init__(
        self, js: JetStreamContext, store: str, channel: grpc.aio.Channel, folder: Path, nats_url: str
    ) -> None:
        self.js = js
        self.blobs = Blobs(BlobServiceStub(channel))
        self.reader = LogReader(EventServiceStub(channel), js)
        self.blob_folder = folder / "blobs"
        # The store stops for the time of the body.
        self.store_away: Callable[[], AbstractAsyncContextManager[None]]
        self._store = store
        self._folder = folder
        self._nats_url = nats_url
        self._scenes: dict[Path, Scene] = {}

    @asynccontextmanager
    async def worker(self, name: str, **settings: object) -> AsyncIterator[Lifetime]:
        """One more worker, for the time of the body; its `stop` is what SIGTERM sets."""
        wanted = SimWorkerSettings(
            nats_url=self._nats_url,
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            event_store=self._store,
            work_dir=self._folder / name,
            worker_id=name,
            **{"slots": 2, "lease_s": LEASE_S, **settings},  # type: ignore[arg-type]
        )
        async with _serving(sim_worker.serve, wanted) as lifetime:
            yield lifetime

    async def create(
        self,
        spec: SessionSpec | None = None,
        *commands: CommandRequested,
        end_s: float = 600.0,
        created: SessionCreated | None = None,
        scene: Scene | None = None,
    ) -> str:
        """A session that ends `end_s` after its begin, of the bundled city or an uploaded scene, commanded; its id."""
        scene = scene or await self.upload(demo_directory(), CONFIG)
        session_id = f"s-{uuid.uuid4().hex[:8]}"
        spec = spec or SessionSpec()
        spec.seed = spec.seed or 1
        spec.interval_steps = spec.interval_steps or 10
        wanted = created or SessionCreated()
        wanted.tenant, wanted.pool, wanted.auto_start = DEFAULT_TENANT, POOL, True
        wanted.spec.CopyFrom(spec)
        wanted.scene.CopyFrom(scene)
        wanted.scene.end_time_s = scene.begin_time_s + end_s
        await self.append(session_id, wanted)
        for command in commands:
            await self.ask(session_id, command)
        await self.order(session_id)
        return session_id

    async def append(self, session_id: str, *payloads: object) -> None:
        """As the session API does: behind whatever is there, fenced."""
        while True:
            messages = await read_tail(self.js, DEFAULT_TENANT, session_id, after_stream_seq=0)
            place, life = Place(), SessionLife()
            for message in messages:
                place = place.after(message)
                for event in events(session_id, message):
                    life = fold_event(life, event)
            writer = LogWriter(
                self.js, tenant=DEFAULT_TENANT, session_id=session_id, place=place, nonce=uuid.uuid4().hex
            )
            try:
                await writer.append(
                    [item if isinstance(item, Record) else record(item) for item in payloads],  # type: ignore[arg-type]
                    run=life.run,
                    attempt=life.attempt,
                )
            except LostRace:
                continue
            return

    async def copy_records(self, session_id: str, source: list[Event]) -> None:
        """Records of another log, as they are."""
        records = [
            Record(kind=event_kind(e), step=e.step, sim_time_s=e.sim_time_s, payload=payload_of(e)) for e in source
        ]
        await self.append(session_id, *records)

    async def ask(self, session_id: str, command: CommandRequested) -> str:
        """Append a command; returns its id."""
        command.command_id = command.command_id or str(uuid.uuid4())
        await self.append(session_id, command)
        return command.command_id

    async def order(self, session_id: str, line: Line | None = None) -> None:
        """Publish the work order."""
        await WorkOrders(self.js, lease_s=LEASE_S).publish(line or LINE, session_id)

    async def log(self, session_id: str) -> list[Event]:
        """All events; fails unless their numbers are gap-free from 1."""
        messages = await read_tail(self.js, DEFAULT_TENANT, session_id, after_stream_seq=0)
        found = [event for message in messages for event in events(session_id, message)]
        assert [event.seq for event in found] == list(range(1, len(found) + 1))
        return found

    async def until(self, session_id: str, enough: Callable[[list[Event]], bool]) -> list[Event]:
        """The log once it holds enough."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not enough(found := await self.log(session_id)):
            last = [(event.WhichOneof("payload"), event.step) for event in found[-12:]]
            assert asyncio.get_running_loop().time() < deadline, f"{session_id} stays at {last}"
            await asyncio.sleep(0.05)
        return found

    async def put_past(self, past: ForkPast) -> str:
        """Store the past of a fork; returns its digest."""
        return await self.blobs.put_bytes(past.SerializeToString())

    async def upload(self, folder: Path, config: str) -> Scene:
        """Store the files of a scenario, once; what of it runs."""
        if folder not in self._scenes:
            found = inspect(folder, config)
            assert found.scene is not None, found.errors
            files = []
            for path in sorted(folder.iterdir()):
                if path.is_file() and "__" not in path.name and not path.name.endswith(".py"):
                    content = path.read_bytes()
                    files.append(ScenarioFile(path.name, await self.blobs.put_bytes(content), len(content)))
            scene = scene_to_proto(found.scene)
            scene.scenario_digest = await self.blobs.put_bytes(Manifest(config, tuple(files)).text().encode())
            self._scenes[folder] = scene
        return self._scenes[folder]


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[tuple[Rig, Broker]]:
    """Broker and store for the time of the body."""
    async with running_broker(folder / "nats") as broker:
        settings = EventStoreSettings(
            nats_url=broker.url,
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            database_url=f"sqlite+aiosqlite:///{folder / 'events.db'}",
            blob_url=f"file://{folder / 'blobs'}",
        )
        async with AsyncExitStack() as running:
            store = await running.enter_async_context(_serving(event_store.serve, settings))
            client = await connect(broker.url, name="test", appends=True)

            @asynccontextmanager
            async def store_away() -> AsyncIterator[None]:
                await running.aclose()
                yield
                there = settings.model_copy(update={"listen": store.address})
                await running.enter_async_context(_serving(event_store.serve, there))

            async with grpc.aio.insecure_channel(store.address) as channel:
                stage = Rig(jetstream(client), store.address, channel, folder, broker.url)
                stage.store_away = store_away
                yield stage, broker
            await disconnect(client)


class _Lifetime(Lifetime):
    """Remembers where it serves."""

    def __init__(self, settings: object) -> None:
        super().__init__(settings, "")  # type: ignore[arg-type]
        self.address = ""
        self.serves = asyncio.Event()

    def ready(self, address: str) -> None:
        """See Lifetime."""
        self.address = address
        self.serves.set()


@asynccontextmanager
async def _serving(serve: Callable[..., object], settings: object) -> AsyncIterator[_Lifetime]:
    lifetime = _Lifetime(settings)
    running = asyncio.ensure_future(serve(settings, lifetime))  # type: ignore[call-overload]
    waiting = asyncio.ensure_future(lifetime.serves.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
    assert lifetime.serves.is_set(), running
    try:
        yield lifetime
    finally:
        lifetime.stop.set()
        await asyncio.wait_for(running, PATIENCE_S)


def slow(speed_mps: float) -> Intervention:
    """A speed limit on every third street of the city: whoever forgets it computes something else."""
    net = gzip.decompress((demo_directory() / "milton.net.xml.gz").read_bytes()).decode()
    edges = re.findall(r'<edge id="([^":]+)"', net)[::3]
    return Intervention(set_speed_limit=SetSpeedLimit(place=NetPlace(edge_ids=edges), speed_mps=speed_mps))
