"""What Milepost is compared with: the bare binary, a bare libsumo loop, and TraCI as RL environments use it.

Each runs the session's scenario (the demo city, when none is named) in a process of its own, with the arguments
and the environment that its RunStarted recorded, in a directory laid out as the session's was.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from milepost.session.v1.session_pb2 import Session
from scenario.demo import demo_directory
from scenario.prepare import RunOptions, prepare
from scenario.wire import scene_from_proto

_DURATION = re.compile(r"Duration: ([0-9.]+)s")

LIBSUMO = """
import sys, time, libsumo
libsumo.start(["sumo", *sys.argv[2:]])
end = float(sys.argv[1])
began = time.perf_counter()
while libsumo.simulation.getTime() < end:
    libsumo.simulationStep()
print("LOOP", time.perf_counter() - began)
libsumo.close()
"""

TRACI = """
import os, sys, time, traci
traci.start([sys.argv[2], *sys.argv[3:]])
end, step = float(sys.argv[1]), 0
began = time.perf_counter()
while traci.simulation.getTime() < end:
    traci.simulationStep()
    step += 1
    if step % 10 == 0:
        for vehicle in traci.vehicle.getIDList():
            traci.vehicle.getPosition(vehicle), traci.vehicle.getSpeed(vehicle), traci.vehicle.getAngle(vehicle)
        for light in traci.trafficlight.getIDList():
            traci.trafficlight.getRedYellowGreenState(light)
print("LOOP", time.perf_counter() - began)
traci.close()
"""


@contextmanager
def laid_out(session: Session, scenario: Path | None = None) -> Iterator[Path]:
    """A directory as the session's was; `scenario` is the folder it was uploaded from."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
        root = Path(folder) / "scene"
        shutil.copytree(scenario or demo_directory(), root)
        prepare(root, scene_from_proto(session.scene), spec=RunOptions(seed=session.spec.seed))
        yield Path(folder)


def environment(session: Session) -> dict[str, str]:
    """The environment the session's SUMO had."""
    return {**os.environ, **dict(pair.split("=", 1) for pair in session.execution.environment)}


async def binary_s(session: Session, scenario: Path | None = None, *, until_s: float | None = None) -> float:
    """Seconds the bare binary takes, from its first step to its end (simulated: `until_s`), as it prints them."""
    with laid_out(session, scenario) as folder:
        return _seconds(_DURATION, await _output(session, _binary(session, until_s), folder))


async def binary_process_s(session: Session, scenario: Path | None = None, *, until_s: float | None = None) -> float:
    """Seconds the process of the bare binary takes: as above, with loading before and writing after it."""
    with laid_out(session, scenario) as folder:
        began = time.perf_counter()
        await _output(session, _binary(session, until_s), folder)
        return time.perf_counter() - began


async def libsumo_s(session: Session) -> float:
    """Seconds of a loop that does nothing but step."""
    return await _loop_s(session, [sys.executable, "-c", LIBSUMO, str(session.scene.end_time_s)])


async def traci_s(session: Session) -> float:
    """Seconds of a TraCI loop that reads every vehicle and signal every ten steps, as the digest does."""
    sumo = str(Path(sys.executable).with_name("sumo"))
    return await _loop_s(session, [sys.executable, "-c", TRACI, str(session.scene.end_time_s), sumo])


def _binary(session: Session, until_s: float | None) -> list[str]:
    sumo = str(Path(sys.executable).with_name("sumo"))
    arguments = list(session.execution.arguments)
    if until_s is not None:
        arguments[arguments.index("--end") + 1] = f"{until_s:g}"
    return [sumo, *arguments, "--duration-log.statistics"]


async def _loop_s(session: Session, command: Sequence[str]) -> float:
    return _seconds(re.compile(r"LOOP ([0-9.]+)"), await _run(session, [*command, *session.execution.arguments]))


async def _run(session: Session, command: Sequence[str]) -> str:
    with laid_out(session) as folder:
        return await _output(session, command, folder)


async def _output(session: Session, command: Sequence[str], folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment(session),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(output.decode())
    return output.decode()


def _seconds(pattern: re.Pattern[str], output: str) -> float:
    found = pattern.search(output)
    if found is None:
        raise RuntimeError(f"no duration in: {output[-500:]}")
    return float(found[1])
