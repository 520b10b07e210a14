"""One session against the bare binary, a bare libsumo loop and a TraCI loop: the same city, options and seed."""

import statistics
from collections.abc import Awaitable, Callable

from bench.rivals import binary_process_s, binary_s, libsumo_s, traci_s
from bench.stack import stack
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import Session

ROUNDS = 5


async def measure() -> None:
    """Interleaved rounds; prints medians, and the medians of the ratios round by round."""
    async with stack() as client:
        await client.sessions.wait((await client.sessions.create_demo(seed=1, end_time_s=25500)).session_id)
        seconds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            session = await client.sessions.wait((await client.sessions.create_demo(seed=1)).session_id)
            seconds.setdefault("Milepost, RunStarted to end", []).append(await stepping_s(client, session))
            rivals: dict[str, Callable[[Session], Awaitable[float]]] = {
                "bare sumo binary, first step to end": binary_s,
                "bare sumo binary, the whole process": binary_process_s,
                "bare libsumo loop": libsumo_s,
                "TraCI loop, reading every 10 steps": traci_s,
            }
            for name, rival in rivals.items():
                seconds.setdefault(name, []).append(await rival(session))
    ours = seconds["Milepost, RunStarted to end"]
    print(f"  demo city, {ROUNDS} rounds: median seconds, and Milepost's time as a multiple of it")
    for name, values in seconds.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, values, strict=True))
        print(f"  {name:38} {statistics.median(values):7.2f} s   {ratio:5.2f}")


async def stepping_s(client: Milepost, session: Session) -> float:
    """From RunStarted to the last interval, by the worker's clock: what durable events add is in it."""
    kinds = (EventKind.EVENT_KIND_RUN_STARTED, EventKind.EVENT_KIND_SESSION_COMPLETED)
    marks: list[Event] = [event async for event in client.events.read(session.session_id, kinds=kinds)]
    return (marks[-1].record_time.ToMicroseconds() - marks[0].record_time.ToMicroseconds()) / 1e6
