"""How soon a session shows its first interval, against the bare binary that loads the same and simulates it, too.

    python -m bench first-interval

The demo city, and the real scenarios below MILEPOST_SCENARIOS where there are any. Ours and the binary take turns.
"""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

from bench.lines import in_ms, told
from bench.rivals import binary_process_s
from bench.stack import stack
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import Session, SessionSpec
from scenario.demo import demo_directory

ROUNDS = 15
# The first interval and one more: nothing is cut short while it is looked at, simulated s.
_LENGTH_S = 20.0
_SCENARIOS = Path(os.environ.get("MILEPOST_SCENARIOS", Path(__file__).parents[2] / "shared" / "scenarios"))


async def measure() -> None:
    """One scenario after the other, on an otherwise idle stack with one worker."""
    async with stack(slots=1) as client:
        for config in _configs():
            await _scenario(client, config)


def _configs() -> Iterator[Path]:
    yield next(demo_directory().glob("*.sumocfg"))
    yield from sorted(_SCENARIOS.glob("*/run.sumocfg"))


async def _scenario(client: Milepost, config: Path) -> None:
    scenario = await client.scenarios.upload(config)
    begin_s = scenario.scene.begin_time_s
    first, cold_s = await _first_interval(client, scenario.digest, begin_s, seed=0)
    ours, bare = [], []
    for seed in range(1, ROUNDS + 1):
        bare.append(await binary_process_s(first, config.parent, until_s=begin_s + _LENGTH_S / 2))
        ours.append((await _first_interval(client, scenario.digest, begin_s, seed=seed))[1])
    more = statistics.median(mine - its for mine, its in zip(ours, bare, strict=True))
    goal = "< 300 ms" if "cologne" in config.parent.name else ""
    told(f"{config.parent.name}: create -> first interval", in_ms(ours), goal)
    told("… the worker's first session of it", f"{cold_s * 1e3:.0f} ms")
    told("… the bare binary: load, ten steps, end", in_ms(bare))
    told("… more than that, median", f"{more * 1e3:.0f} ms", "< 250 ms")


async def _first_interval(client: Milepost, digest: str, begin_s: float, *, seed: int) -> tuple[Session, float]:
    """A session that has ended, and how long its first interval took to a watcher, s."""
    spec = SessionSpec(scenario_digest=digest, seed=seed, end_time_s=begin_s + _LENGTH_S, interval_steps=10)
    began = time.perf_counter()
    name = (await client.sessions.create(spec)).session_id
    async with aclosing(client.events.watch(name, kinds=(EventKind.EVENT_KIND_INTERVAL_CLOSED,))) as items:
        async for item in items:
            if isinstance(item, Event):
                took_s = time.perf_counter() - began
                break
    await client.sessions.wait(name)
    return await client.sessions.get(name, full=True), took_s
