"""Variants that differ only after a while: forked from one warm-up against simulated from the begin.

    python -m bench warm-up

Ingolstadt with its 21 signals from MILEPOST_SCENARIOS, the demo city where that is not there. Both ways take turns
on one worker; that they come to the same results, to the last bit of the state's digest, is part of the measurement.
"""

import asyncio
import gzip
import os
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.lines import in_s, told
from bench.stack import stack
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import StartKind
from milepost.intervention.v1.intervention_pb2 import Intervention, Place, SetSpeedLimit
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.session.v1.session_pb2 import PlannedIntervention, Session, SessionSpec
from scenario.demo import demo_directory

VARIANTS = 10
# Of the whole run, simulated s, the share in which all variants are the same.
LENGTH_S = 1200.0
SHARE = 0.6
ROUNDS = 2
_SCENARIOS = Path(os.environ.get("MILEPOST_SCENARIOS", Path(__file__).parents[2] / "shared" / "scenarios"))
_SEED = 1


async def measure() -> None:
    """Print the figures."""
    real = _SCENARIOS / "resco_ingolstadt21" / "run.sumocfg"
    config = real if real.exists() else next(demo_directory().glob("*.sumocfg"))
    async with stack(slots=os.cpu_count()) as client:
        scenario = await client.scenarios.upload(config)
        streets = _streets(config.parent / scenario.scene.net_file)
        await _compare(client, scenario, streets)


async def _compare(client: Milepost, scenario: Scenario, streets: Sequence[str]) -> None:
    scene = scenario.scene
    end_s, until_s = scene.begin_time_s + LENGTH_S, scene.begin_time_s + SHARE * LENGTH_S
    common = SessionSpec(scenario_digest=scenario.digest, seed=_SEED, end_time_s=end_s)
    plans = [_variant(streets, until_s, 4.0 + number) for number in range(VARIANTS)]
    wholes_s, forks_s = [], []
    for _ in range(ROUNDS):
        whole_s, wholes = await _whole(client, common, plans)
        fork_s, forks = await _forked(client, common, plans, until_s)
        assert [one.results for one in forks] == [one.results for one in wholes]
        await _woken(client, forks)
        wholes_s.append(whole_s)
        forks_s.append(fork_s)
    differ = len({one.results.state_digest for one in wholes})
    ratio = statistics.median(ours / its for ours, its in zip(forks_s, wholes_s, strict=True))
    told(f"{VARIANTS} variants ({differ} different) from the begin", in_s(wholes_s))
    told(f"… forked from one warm-up of {SHARE:.0%}, it included", f"{in_s(forks_s)}: {ratio:.2f}")


async def _whole(
    client: Milepost, common: SessionSpec, plans: Sequence[PlannedIntervention]
) -> tuple[float, list[Session]]:
    began = time.perf_counter()
    sessions = await asyncio.gather(*(client.sessions.run(_with(common, interventions=[plan])) for plan in plans))
    return time.perf_counter() - began, sessions


async def _forked(
    client: Milepost, common: SessionSpec, plans: Sequence[PlannedIntervention], until_s: float
) -> tuple[float, list[Session]]:
    began = time.perf_counter()
    trunk = await client.sessions.run(_with(common, stop_time_s=until_s, linger_s=600))

    async def forked(plan: PlannedIntervention) -> Session:
        fork = await client.sessions.fork(trunk.session_id, planned_interventions=[plan])
        return await client.sessions.wait(fork.session_id)

    forks = await asyncio.gather(*map(forked, plans))
    return time.perf_counter() - began, forks


def _with(common: SessionSpec, **more: Any) -> SessionSpec:
    spec = SessionSpec(**more)
    spec.MergeFrom(common)
    return spec


async def _woken(client: Milepost, forks: Sequence[Session]) -> None:
    """Fails unless each began with the warm-up's copy."""
    for fork in forks:
        started = [e.run_started.start async for e in client.events.read(fork.session_id) if e.HasField("run_started")]
        assert started == [StartKind.START_KIND_MEMORY_SNAPSHOT], started


def _variant(streets: Sequence[str], at_s: float, speed_mps: float) -> PlannedIntervention:
    limit = SetSpeedLimit(place=Place(edge_ids=streets), speed_mps=speed_mps)
    return PlannedIntervention(at_time_s=at_s, intervention=Intervention(set_speed_limit=limit))


def _streets(net: Path) -> list[str]:
    """Every fifth edge of a net."""
    text = (gzip.decompress(net.read_bytes()) if net.suffix == ".gz" else net.read_bytes()).decode()
    return re.findall(r'<edge id="([^":]+)"', text)[::5]
