"""From append to watcher, and from create to the first interval."""

import statistics
import time

from bench.stack import stack
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind

CREATES = 30


async def measure() -> None:
    """One after the other, on an otherwise idle stack."""
    async with stack() as client:
        await client.sessions.wait((await client.sessions.create_demo(seed=1, end_time_s=25300)).session_id)
        _print(
            "create to first interval, demo city", [await _first_interval_s(client, seed) for seed in range(CREATES)]
        )
        session = await client.sessions.create_demo(seed=1)
        delays = [
            time.time() - item.record_time.ToMicroseconds() / 1e6
            async for item in client.events.watch(session.session_id)
            if isinstance(item, Event)
        ]
        _print("append to watcher, one session at full speed", delays)


async def _first_interval_s(client: Milepost, seed: int) -> float:
    began = time.perf_counter()
    session = await client.sessions.create_demo(seed=seed, end_time_s=25220)
    first = None
    async for item in client.events.watch(session.session_id, kinds=(EventKind.EVENT_KIND_INTERVAL_CLOSED,)):
        if first is None and isinstance(item, Event):
            first = time.perf_counter() - began
    assert first is not None
    return first


def _print(name: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(f"  {name:46} p50 {cuts[49] * 1e3:6.1f} ms   p99 {cuts[98] * 1e3:6.1f} ms   ({len(seconds)} samples)")
