"""Watchers as light as they can be made, in a process of their own, so that they take little from what they measure.

    python -m bench.watching live|store|broker|timer  <  {"address", "sessions", "watchers", ...}

Reads one line of JSON, says `ready` when everybody has caught up, and answers each further line: `begin` starts
counting anew, `end` prints what was counted and leaves. The figure `store` or `broker` ends by itself when everybody
has come to the heads that were named.
"""

import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from nats.aio.client import Client
from nats.js.errors import FetchTimeoutError

from milepost.event.v1.event_service_pb2 import WatchEventsRequest, WatchEventsResponse
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import connect, jetstream, subject
from runtime.settings import DEFAULT_TENANT

# Channels of one process: a client machine's, not a watcher's.
CHANNELS = 4
TIMER_S = 0.01
WATCH = "/milepost.event.v1.EventService/WatchEvents"


@dataclass(slots=True)
class Counted:
    """What watchers saw: delays from record time to receipt, s; messages; events."""

    delays_s: list[float] = field(default_factory=list)
    messages: int = 0
    events: int = 0

    def told(self, cpu_s: float) -> dict[str, Any]:
        """As JSON."""
        cuts = statistics.quantiles(self.delays_s, n=1000) if len(self.delays_s) > 1 else [0.0] * 999
        return {
            "p50_s": cuts[499],
            "p99_s": cuts[989],
            "worst_s": max(self.delays_s, default=0.0),
            "messages": self.messages,
            "events": self.events,
            "cpu_s": cpu_s,
        }


async def live(asked: dict[str, Any]) -> None:
    """Follow from the heads on until told to end."""
    channels = [grpc.aio.insecure_channel(asked["address"], [("n", n)]) for n in range(CHANNELS)]
    sessions = [(name, seq) for name, seq in asked["sessions"].items()]
    counted, ready = Counted(), asyncio.Semaphore(0)

    async def watch(number: int) -> None:
        name, seq = sessions[number % len(sessions)]
        call = _watch(channels[number % CHANNELS], name, seq)
        while (message := await call.read()) is not grpc.aio.EOF:
            now = time.time()
            counted.messages += 1
            response = WatchEventsResponse.FromString(message)
            if response.HasField("caught_up"):
                ready.release()
            for event in response.events.events:
                counted.events += 1
                counted.delays_s.append(now - event.record_time.ToMicroseconds() / 1e6)

    watching = [asyncio.create_task(watch(number)) for number in range(asked["watchers"])]
    for _ in watching:
        await ready.acquire()
    print("ready", flush=True)
    began_cpu = _cpu_s()
    while (word := await asyncio.to_thread(sys.stdin.readline)) and word.strip() != "end":
        counted.delays_s.clear()
        counted.messages = counted.events = 0
        began_cpu = _cpu_s()
    print(json.dumps(counted.told(_cpu_s() - began_cpu)), flush=True)
    for task in watching:
        task.cancel()
    await asyncio.wait(watching)
    for channel in channels:
        await channel.close()


async def store(asked: dict[str, Any]) -> None:
    """Read logs from the beginning to where they were when asked, through the store."""
    channels = [grpc.aio.insecure_channel(asked["address"], [("n", n)]) for n in range(CHANNELS)]
    counted = Counted()

    async def watch(number: int, name: str, head_seq: int) -> None:
        call = _watch(channels[number % CHANNELS], name, 0)
        while (message := await call.read()) is not grpc.aio.EOF:
            counted.messages += 1
            events = WatchEventsResponse.FromString(message).events.events
            counted.events += len(events)
            if events and events[-1].seq >= head_seq:
                break
        call.cancel()

    await _race(asked, [lambda n=n, it=it: watch(n, *it) for n, it in _spread(asked)], counted)


async def broker(asked: dict[str, Any]) -> None:
    """The same through plain ordered consumers."""
    clients = [await connect(asked["address"], name="bench") for _ in range(CHANNELS)]
    counted = Counted()

    async def watch(client: Client, name: str, head_seq: int) -> None:
        found = subject(EventBatch, tenant=DEFAULT_TENANT, session=name)
        subscription = await jetstream(client).subscribe(found, ordered_consumer=True)
        seq = 0
        while seq < head_seq:
            try:
                message = await subscription.next_msg(timeout=10)
            except FetchTimeoutError:
                continue
            counted.messages += 1
            seq += len(EventBatch.FromString(message.data).records)
        counted.events += seq
        await subscription.unsubscribe()

    await _race(asked, [lambda n=n, it=it: watch(clients[n % CHANNELS], *it) for n, it in _spread(asked)], counted)
    for client in clients:
        await client.close()


async def timer(_: dict[str, Any]) -> None:
    """How late a process is that does nothing but wake up a hundred times a second: what the machine adds itself."""
    counted, leaving = Counted(), asyncio.Event()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

    async def listen() -> None:
        await asyncio.to_thread(sys.stdin.readline)
        leaving.set()

    listening = asyncio.create_task(listen())
    while not leaving.is_set():
        due = time.perf_counter() + TIMER_S
        await asyncio.sleep(TIMER_S)
        counted.delays_s.append(time.perf_counter() - due)
    await listening
    print(json.dumps(counted.told(_cpu_s())), flush=True)


async def _race(asked: dict[str, Any], runners: Sequence[Any], counted: Counted) -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began, began_cpu = time.perf_counter(), _cpu_s()
    await asyncio.gather(*(run() for run in runners))
    took_s = time.perf_counter() - began
    print(json.dumps({**counted.told(_cpu_s() - began_cpu), "took_s": took_s}), flush=True)


def _spread(asked: dict[str, Any]) -> list[tuple[int, tuple[str, int]]]:
    sessions = list(asked["sessions"].items())
    return [(n, sessions[n % len(sessions)]) for n in range(asked["watchers"])]


def _watch(channel: grpc.aio.Channel, session_id: str, after_seq: int) -> Any:
    request = WatchEventsRequest(session_id=session_id, after_seq=after_seq)
    return channel.unary_stream(WATCH, request_serializer=WatchEventsRequest.SerializeToString)(request)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


FIGURES = {"live": live, "store": store, "broker": broker, "timer": timer}

if __name__ == "__main__":
    asyncio.run(FIGURES[sys.argv[1]](json.loads(sys.stdin.readline())))
