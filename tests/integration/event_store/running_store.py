"""An event store that serves, in this process or in one of its own, and logs to put into it.

    async with running_store(folder, broker.url) as store:
        log = Log(js, "s1")
        await log.append(*lines("a", "b"))
        async with store.watching("s1") as watch: ...

In this process a store is stopped as SIGTERM would (`stop`); one of its own can be killed.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from nats.js import JetStreamContext
from prometheus_client import REGISTRY

from databases import hold, url_of
from event_store.main import serve
from event_store.settings import EventStoreSettings
from milepost.admin.v1.admin_service_pb2_grpc import StoreAdminServiceStub
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import Event, IntervalClosed, LogLine, RunOpened, SessionCompleted, SessionCreated
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.event.v1.record_pb2 import Record
from runtime.process import Lifetime
from runtime.settings import DEFAULT_TENANT
from session_log.codec import record
from session_log.writer import LogWriter, Place

PATIENCE_S = 20.0


@dataclass
class Log:
    """The log of a session, and all that was appended to it."""

    js: JetStreamContext
    session_id: str
    appended: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = LogWriter(
            self.js, tenant=DEFAULT_TENANT, session_id=self.session_id, place=Place(), nonce=uuid.uuid4().hex
        )

    async def append(self, *records: Record) -> None:
        """One message."""
        await self.writer.append(records, run=1, attempt=1)
        self.appended += records

    @property
    def head(self) -> int:
        return len(self.appended)


def lines(*texts: str) -> list[Record]:
    return [record(LogLine(text=text)) for text in texts]


def created() -> Record:
    return record(SessionCreated(tenant=DEFAULT_TENANT, display_name="one"))


def interval(step: int) -> Record:
    return record(IntervalClosed(state_digest=step.to_bytes(16, "big")), step=step, sim_time_s=step / 10)


def reopened() -> Record:
    """What makes an ended log go on."""
    return record(RunOpened(run=2))


def completed(step: int = 0) -> Record:
    return record(SessionCompleted(), step=step)


def as_records(events: Sequence[Event]) -> list[Record]:
    """Events as the records they came from."""
    found = []
    for event in events:
        payload = getattr(event, event.WhichOneof("payload"))
        found.append(record(payload, step=event.step, sim_time_s=event.sim_time_s))
    return found


def metric(name: str) -> float:
    """A metric of the store in this process."""
    return REGISTRY.get_sample_value(name) or 0.0


def refusal(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Status, reason and metadata of a refused call."""

    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == rpc_status.GRPC_DETAILS_METADATA_KEY:
            status.ParseFromString(value)
    detail = error_details_pb2.ErrorInfo()
    for packed in status.details:
        if packed.Is(detail.DESCRIPTOR):
            packed.Unpack(detail)
    return error.code(), detail.reason, dict(detail.metadata)


class Watch:
    """One call of WatchEvents."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.messages: list[pb.WatchEventsResponse] = []

    @property
    def events(self) -> list[Event]:
        return [event for message in self.messages for event in message.events.events]

    @property
    def seqs(self) -> list[int]:
        return [event.seq for event in self.events]

    def kinds(self) -> list[str]:
        """What came, without heartbeats, neighbours of one kind as one."""
        found: list[str] = []
        for message in self.messages:
            kind = message.WhichOneof("message")
            if kind != "heartbeat" and found[-1:] != [kind]:
                found.append(kind)
        return found

    async def next(self) -> pb.WatchEventsResponse | None:
        """The next message; None at the end."""
        message = await asyncio.wait_for(self.call.read(), PATIENCE_S)
        if message is grpc.aio.EOF:
            return None
        self.messages.append(message)
        return message

    async def until(self, kind: str) -> pb.WatchEventsResponse:
        """Read until a message of a kind."""
        async with asyncio.timeout(PATIENCE_S):
            while (message := await self.next()) is not None:
                if message.WhichOneof("message") == kind:
                    return message
        raise AssertionError(f"no {kind} in {self.kinds()}")

    async def until_seq(self, seq: int) -> None:
        """Read until an event has come."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.seqs or self.seqs[-1] < seq:
                assert await self.next() is not None, self.kinds()

    async def to_the_end(self) -> None:
        """Read until the stream ends. Raises AioRpcError."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.next() is not None:
                pass


class Store:
    """Where a store serves, and stubs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address)
        self.events: Any = EventServiceStub(self.channel)
        self.blobs: Any = BlobServiceStub(self.channel)
        self.admin: Any = StoreAdminServiceStub(self.channel)
        self.stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def watching(self, session_id: str, after: int = 0, **fields: Any) -> AsyncIterator[Watch]:
        """A watch, broken off at the end."""
        call = self.events.WatchEvents(pb.WatchEventsRequest(session_id=session_id, after_seq=after, **fields))
        try:
            yield Watch(call)
        finally:
            call.cancel()

    async def stored(self, log: Log) -> None:
        """Wait until a log is stored."""
        async with asyncio.timeout(PATIENCE_S):
            # Not by a watch: that ends with each run that ends.
            while (await self.head(log.session_id)) < log.head:
                await asyncio.sleep(0.01)

    async def head(self, session_id: str) -> int:
        """Last stored seq."""
        request = pb.GetHeadRequest(session_id=session_id)
        return (await self.events.GetHead(request, timeout=PATIENCE_S)).head_seq

    async def read(self, session_id: str, **fields: Any) -> pb.ReadEventsResponse:
        return await self.events.ReadEvents(pb.ReadEventsRequest(session_id=session_id, **fields), timeout=PATIENCE_S)

    async def whole_log(self, session_id: str) -> list[Event]:
        """All pages."""
        found: list[Event] = []
        cursor = 0
        while True:
            page = await self.read(session_id, cursor=cursor)
            found += page.events
            if not (cursor := page.next_cursor):
                return found


@contextlib.asynccontextmanager
async def ingestion_held_up(folder: Path) -> AsyncIterator[Callable[[], None]]:
    """Somebody else holds what the ingester needs until the body ends or calls what it gets; readers go on.

    Waits for it without blocking: the store runs on this very loop and may be about to commit.
    """
    async with asyncio.timeout(10):
        while (release := hold(folder / "events.db", "event_store.position")) is None:
            await asyncio.sleep(0.01)
    try:
        yield release
    finally:
        release()


def settings_of(folder: Path, nats_url: str, **changed: Any) -> EventStoreSettings:
    folder.mkdir(parents=True, exist_ok=True)
    if "database_url" not in changed:
        changed["database_url"] = url_of(folder / "events.db")
    return EventStoreSettings(
        nats_url=nats_url,
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        blob_url=f"file://{folder / 'blobs'}",
        ready_file=folder / "ready.json",
        **changed,
    )


@contextlib.asynccontextmanager
async def running_store(folder: Path, nats_url: str, **changed: Any) -> AsyncIterator[Store]:
    """A store in this process."""
    settings = settings_of(folder, nats_url, **changed)
    ready = settings.ready_file
    assert ready is not None
    ready.unlink(missing_ok=True)
    lifetime = Lifetime(settings, "")
    serving = asyncio.create_task(serve(settings, lifetime))
    store = None
    try:
        await _exists(ready, serving)
        store = Store(json.loads(ready.read_text())["address"])
        store.stop = lifetime.stop
        yield store
    finally:
        lifetime.stop.set()
        if store is not None:
            await store.channel.close()
        await asyncio.wait_for(serving, PATIENCE_S)


class StoreProcess:
    """A store in a process of its own; where it serves is known when it has started."""

    def __init__(self, folder: Path, nats_url: str, **changed: Any) -> None:
        self._settings = settings_of(folder, nats_url, **changed)
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Store:
        """Start it."""
        ready = self._settings.ready_file
        assert ready is not None
        ready.unlink(missing_ok=True)
        said = self._settings.model_dump(exclude_none=True)
        named = {f"MILEPOST_{name.upper()}": str(value) for name, value in said.items()}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "event_store", env={**os.environ, **named}, stdout=log, stderr=log
            )
        died = asyncio.create_task(self._process.wait())
        await _exists(ready, died)
        died.cancel()
        return Store(json.loads(ready.read_text())["address"])

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def memory_bytes(self) -> int:
        """What it has in memory now."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), PATIENCE_S)


async def _exists(path: Path, running: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not path.exists():
            await asyncio.wait({running}, timeout=0.01)
            if running.done():
                running.result()
                raise AssertionError("ended before it was ready")
