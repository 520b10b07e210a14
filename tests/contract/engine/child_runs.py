"""A small city of the tests' own, and a child that runs it, from launch to exit."""

import asyncio
import contextlib
import os
import subprocess
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from milepost.child.v1.child_pb2 import Failed, Finished, FrameMade, FromChild, Interval, Plan, Started
from milepost.event.v1.event_pb2 import IntervalClosed
from milepost.session.v1.session_pb2 import Engine
from sim_worker.gateways.child_process import Child, ChildExit, ChildLimits
from sim_worker.gateways.zygote import Zygote

# sumo.md, "Options of every session".
SESSION_OPTIONS = (
    *("-X", "never", "--xml-validation.net", "never", "--xml-validation.routes", "never"),
    *("--route-steps", "0", "--threads", "1", "--device.rerouting.threads", "0"),
    *("--save-state.rng", "--save-state.transportables", "--save-state.constraints"),
    *("--save-state.precision", "17", "--device.tripinfo.probability", "1", "--no-step-log"),
)
# A step of the city takes far less.
HEARD_WITHIN_S = 30.0
FILE_SIZE_LIMIT_BYTES = 64 * 1024**2
# What the zygote gives its children, for the bare binary.
RESULT_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4"}

TRAFFIC = """
<routes>
    <vType id="car" speedDev="0.1"/>
    <flow id="east" type="car" begin="0" end="60" period="3" from="A0B0" to="C2C1"/>
    <flow id="west" type="car" begin="0" end="60" period="4" from="C2B2" to="A0A1" departSpeed="random"/>
    <person id="walker" depart="5"><walk edges="A0B0 B0C0"/></person>
</routes>
"""


@dataclass
class Run:
    """Everything a child said, and how it ended."""

    started: Started | None = None
    intervals: list[Interval] = field(default_factory=list)
    frames: list[FrameMade] = field(default_factory=list)
    finished: Finished | None = None
    failed: Failed | None = None
    exit: ChildExit | None = None
    others: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def payloads(self) -> list[bytes]:
        return [interval.payload for interval in self.intervals]

    @property
    def last(self) -> IntervalClosed:
        return IntervalClosed.FromString(self.payloads[-1])

    @contextlib.asynccontextmanager
    async def listening_to(self, child: Child) -> AsyncIterator[None]:
        """Hear all a child says, up to its end; every interval counts as durable at once."""

        async def listen() -> None:
            async for message in child.messages():
                self.hear(message)
                if message.HasField("interval"):
                    await child.durable(message.interval.step)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            yield

    async def until(self, kind: str, *, count: int = 1) -> Any:
        """The `count`th message of a kind, once it is there."""
        async with asyncio.timeout(HEARD_WITHIN_S):
            while len(self.others[kind]) < count:
                assert self.failed is None, self.failed
                self.changed.clear()
                await self.changed.wait()
        return self.others[kind][count - 1]

    def hear(self, message: FromChild) -> None:
        kind = message.WhichOneof("message")
        assert kind is not None
        self.others[kind].append(getattr(message, kind))
        self.changed.set()
        match kind:
            case "started":
                self.started = message.started
            case "interval":
                self.intervals.append(message.interval)
            case "frame":
                self.frames.append(message.frame)
            case "finished":
                self.finished = message.finished
            case "failed":
                self.failed = message.failed


@dataclass(frozen=True)
class City:
    """Lays sessions' directories out over one generated net, and runs children in them."""

    net: Path
    folder: Path

    @classmethod
    def generate(cls, folder: Path) -> "City":
        """Nine crossings with signals and sidewalks."""
        net = folder / "city.net.xml"
        spec = find_spec("sumo")
        assert spec is not None
        assert spec.origin is not None
        subprocess.run(
            [
                str(Path(spec.origin).parent / "bin" / "netgenerate"),
                *("--grid", "--grid.number", "3", "--grid.length", "120", "--default-junction-type", "traffic_light"),
                *("--sidewalks.guess", "--crossings.guess", "--seed", "1", "--output-file", str(net)),
            ],
            check=True,
            capture_output=True,
        )
        return cls(net, folder)

    def lay_out(self, name: str, *, traffic: str = TRAFFIC, **files: str) -> Path:
        """A session's directory. Other files by their names, with `_` for the dot of the suffix."""
        directory = self.folder / name
        scene = directory / "scene"
        scene.mkdir(parents=True)
        os.link(self.net, scene / "city.net.xml")
        (scene / "city.rou.xml").write_text(traffic.strip())
        for file, text in files.items():
            (scene / file.replace("_", ".")).write_text(text)
        return directory


def plan(engine: Engine.ValueType, *extra: str, seed: int = 1, end_time_s: float | None = None) -> Plan:
    """A plan over the city; `extra` are more arguments of SUMO."""
    arguments = [
        *SESSION_OPTIONS,
        *("--seed", str(seed), "--net-file", "scene/city.net.xml", "--route-files", "scene/city.rou.xml"),
        *(("--end", f"{end_time_s:g}") if end_time_s is not None else ()),
        *extra,
    ]
    made = Plan(
        engine=engine,
        arguments=arguments,
        interval_steps=10,
        run_ahead_intervals=8,
        file_size_limit_bytes=FILE_SIZE_LIMIT_BYTES,
    )
    if end_time_s is not None:
        made.end_time_s = end_time_s
    return made


async def run(
    zygote: Zygote,
    directory: Path,
    what: Plan,
    *,
    limits: ChildLimits | None = None,
    on_message: Callable[[Child, FromChild], Awaitable[None]] | None = None,
) -> Run:
    """Run to the end; every interval counts as durable at once."""
    child = await zygote.launch(what, directory, limits or ChildLimits())
    heard = Run()
    async for message in child.messages():
        heard.hear(message)
        if message.HasField("interval"):
            await child.durable(message.interval.step)
        if on_message is not None:
            await on_message(child, message)
    heard.exit = await child.exited()
    return heard


@contextlib.asynccontextmanager
async def stepping(
    zygote: Zygote, directory: Path, what: Plan, *, limits: ChildLimits | None = None
) -> AsyncIterator[tuple[Child, AsyncGenerator[FromChild, None]]]:
    """A child that has closed its first interval, and its further messages; let go of at the end."""
    child = await zygote.launch(what, directory, limits or ChildLimits())
    async with contextlib.aclosing(child.messages()) as messages:
        async for message in messages:
            if message.HasField("interval"):
                break
        yield child, messages
    await child.exited()
