"""What tests ask of a store that serves: reads, watches, blobs; and what it refuses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from integration.event_store.store_logs import Log
from milepost.admin.v1.admin_service_pb2_grpc import StoreAdminServiceStub
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub

PATIENCE_S = 20.0


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
