"""What a checkpoint costs: how long the simulation stands still for it, and when it is committed.

python -m bench.checkpoints
"""

import asyncio
import shutil
import tempfile
import time
from collections import deque
from contextlib import aclosing
from pathlib import Path

from bench.lines import in_ms, in_s, told
from bench.stack import whole_stack
from bench.town import write_town
from milepost.child.v1.child_pb2 import Plan
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind, IntervalClosed
from milepost.session.v1.session_pb2 import Engine, SessionSpec
from scenario.demo import CONFIG, demo_directory
from scenario.inspect import inspect
from scenario.model import SumoOption
from scenario.prepare import RunOptions, prepare
from sim_worker.application.snapshots import MAX_PER_SESSION
from sim_worker.gateways.child_process import Child, ChildLimits
from sim_worker.gateways.snapshot import Snapshot
from sim_worker.gateways.zygote import Zygote

PAUSES = 60
# What the demo city's traffic is multiplied with, and the vehicles that a copy is made at.
_SCALE = "1.5"
_AT_VEHICLES = range(500, 701)
_MORNINGS = 8
_FILE_SIZE_LIMIT_BYTES = 1 << 30
_INTERVAL = (EventKind.EVENT_KIND_INTERVAL_CLOSED,)


async def measure() -> None:
    """Print the figures."""
    # First: a zygote is started before any gRPC channel exists.
    await _pauses()
    await _commits(vehicles=1_000, crossings=8, goal="< 1 s", times=30, times_with_file=10)
    await _commits(vehicles=10_000, crossings=25, goal="< 5 s", times=10, times_with_file=5)


async def _pauses() -> None:
    zygote = await Zygote.start()
    pauses_s: list[float] = []
    vehicles: list[int] = []
    try:
        # One morning passes through so many vehicles only for a while.
        for seed in range(1, _MORNINGS + 1):
            with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
                directory = Path(folder)
                child = await zygote.launch(_busy_city(directory, seed), directory, ChildLimits())
                for snapshot_s, at_vehicles in await _snapshots(child):
                    pauses_s.append(snapshot_s)
                    vehicles.append(at_vehicles)
            if len(pauses_s) >= PAUSES:
                break
    finally:
        await zygote.close()
    figure = in_ms(pauses_s)
    told(f"pause for a copy, demo city with {min(vehicles)} to {max(vehicles)} vehicles", figure, "20 ms at p99")


def _busy_city(directory: Path, seed: int) -> Plan:
    root = directory / "scene"
    shutil.copytree(demo_directory(), root)
    scene = inspect(root, CONFIG).scene
    assert scene is not None
    options = RunOptions(seed=seed, options=(SumoOption("scale", _SCALE),))
    prepared = prepare(root, scene, spec=options)
    return Plan(
        engine=Engine.ENGINE_LIBSUMO,
        arguments=prepared.arguments,
        interval_steps=10,
        run_ahead_intervals=8,
        file_size_limit_bytes=_FILE_SIZE_LIMIT_BYTES,
        end_time_s=scene.end_time_s,
    )


async def _snapshots(child: Child) -> list[tuple[float, int]]:
    """How long each copy held the simulation up, s, and the vehicles there were, PAUSES times at most."""
    kept: deque[Snapshot] = deque(maxlen=MAX_PER_SESSION)
    found: list[tuple[float, int]] = []
    taking: asyncio.Task[Snapshot] | None = None
    vehicles = 0
    async with aclosing(child.messages()) as messages:
        async for message in messages:
            if not message.HasField("interval"):
                continue
            await child.durable(message.interval.step)
            if taking is not None and taking.done():
                if len(kept) == MAX_PER_SESSION:
                    kept[0].close()
                kept.append(taking.result())
                found.append((kept[-1].pause_s, vehicles))
                taking = None
            if len(found) == PAUSES:
                child.kill()
                continue
            running = IntervalClosed.FromString(message.interval.payload).kpis.running
            if taking is None and running in _AT_VEHICLES:
                vehicles = running
                taking = asyncio.create_task(child.take_snapshot(f"{len(found)}"))
    await child.exited()
    if taking is not None:
        # One that was asked for at the very end was refused or came too late to count.
        await asyncio.gather(taking, return_exceptions=True)
    for snapshot in kept:
        snapshot.close()
    return found


async def _commits(*, vehicles: int, crossings: int, goal: str, times: int, times_with_file: int) -> None:
    async with whole_stack(slots=1) as running:
        client = running.client
        config = write_town(running.folder / "town", crossings=crossings, vehicles=vehicles, end_time_s=7200)
        scenario = await client.scenarios.upload(config)
        session = await client.sessions.create(SessionSpec(scenario_digest=scenario.digest, seed=1))
        await busy(client, session.session_id, vehicles)
        name = f"CreateCheckpoint to its answer, {vehicles:,} vehicles"
        told(name, in_s([await _commit_s(client, session.session_id) for _ in range(times)]), goal)
        with_file = [await _commit_s(client, session.session_id, state_file=True) for _ in range(times_with_file)]
        told("… with a state file", in_s(with_file), goal)
        await client.sessions.cancel(session.session_id)


async def busy(client: Milepost, session_id: str, vehicles: int) -> None:
    """Wait until all that want to are on the road, but for a few that find no gap."""
    async with aclosing(client.events.watch(session_id, kinds=_INTERVAL)) as items:
        async for item in items:
            if isinstance(item, Event) and item.interval_closed.kpis.running >= 0.95 * vehicles:
                return
    raise RuntimeError(f"{session_id} ended before {vehicles} vehicles were on the road")


async def _commit_s(client: Milepost, session_id: str, *, state_file: bool = False) -> float:
    began = time.perf_counter()
    made = await client.sessions.checkpoint(session_id, state_file=state_file)
    took_s = time.perf_counter() - began
    if made is None:
        raise RuntimeError("the checkpoint was not made within the call's deadline")
    return took_s


if __name__ == "__main__":
    asyncio.run(measure())
