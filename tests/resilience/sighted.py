"""Watchers that go from address to address, and note what they saw, when, and what told them that they were behind."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from milepost.connection import open_channel
from milepost.event.v1.event_service_pb2 import WatchEventsRequest, WatchEventsResponse
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from resilience.history import entry
from resilience.observed import Entry, Violation, Watch
from resilience.punctual import Sight

# After so long a silence a watcher connects anew, s: two heartbeats.
SILENCE_S = 4.0
# Between two connections, s.
_RECONNECT_S = 0.1
# What is older than this when it comes tells that there is more, s.
_OLD_S = 2.0


@dataclass(slots=True)
class Sighted:
    """One watcher of one log; `addresses` in the order in which it tries them."""

    session_id: str
    addresses: Sequence[str]
    sight: Sight = field(init=False)
    watches: list[Watch] = field(default_factory=list)
    faults: list[Violation] = field(default_factory=list)
    """What is wrong on its face."""
    cursor: int = 0

    def __post_init__(self) -> None:
        self.sight = Sight(self.session_id)

    async def to_the_end(self) -> None:
        """Watch until Terminal, over any number of connections."""
        number = 0
        while not (self.watches and self.watches[-1].terminal_seq):
            await self._connection(self.addresses[number % len(self.addresses)])
            number += 1
            await asyncio.sleep(_RECONNECT_S)

    async def _connection(self, address: str) -> None:
        """One connection until it ends, breaks or falls silent."""
        seen: list[Entry] = []
        after_seq, terminal_seq = self.cursor, 0
        async with open_channel(address) as channel:
            call = EventServiceStub(channel).WatchEvents(
                WatchEventsRequest(session_id=self.session_id, after_seq=after_seq)
            )
            try:
                while not terminal_seq:
                    async with asyncio.timeout(SILENCE_S):
                        message = await call.read()
                    if message is grpc.aio.EOF:
                        break
                    terminal_seq = self._take(message, seen)
            except TimeoutError:
                pass
            except grpc.aio.AioRpcError as broken:
                if broken.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                    words = f"{broken.code().name}: {broken.details()}"
                    self.faults.append(Violation("watching", self.session_id, words))
            finally:
                call.cancel()
                self._sign()
        if seen or terminal_seq:
            self.watches.append(Watch(self.session_id, after_seq, tuple(seen), terminal_seq))

    def _take(self, message: WatchEventsResponse, seen: list[Entry]) -> int:
        """Note a message; the seq of Terminal, else 0."""
        now = time.time()
        match message.WhichOneof("message"):
            case "hello" | "fell_behind":
                self._sign()
            case "events":
                for event in message.events.events:
                    seen.append(entry(event))
                    self.sight.seen_s.setdefault(event.seq, now)
                    if now - event.record_time.ToMicroseconds() / 1e6 > _OLD_S:
                        self._sign()
                self.cursor = seen[-1].seq
            case "heartbeat":
                beat = message.heartbeat
                if beat.sent_seq != self.cursor:
                    words = f"heartbeat says {beat.sent_seq}, sent was {self.cursor}"
                    self.faults.append(Violation("watching", self.session_id, words))
                old = now - beat.server_time.ToMicroseconds() / 1e6 > _OLD_S
                lagging = not beat.HasField("ingest_lag") or beat.ingest_lag.ToMilliseconds() > 1000
                if old or lagging or beat.stored_head_seq > beat.sent_seq:
                    self._sign()
            case "terminal":
                return message.terminal.seq
        return 0

    def _sign(self) -> None:
        self.sight.signs_s.append(time.time())
