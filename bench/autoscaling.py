"""Workers that come and go with the load, as KEDA and Kubernetes have them come and go.

    scaler ──GetMetrics, IsActive──► Autoscaler ──desired──► Fleet ──SIGTERM, start──► worker processes

desired = ceil(slots wanted / slots of a worker), 0 when the pool is not active. More workers come at once; fewer stay
only when that was so for a while (Kubernetes' stabilization window), and those with the fewest sessions go first
(their pods' deletion cost).
"""

import asyncio
import math
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from externalscaler import externalscaler_pb2 as pb
from externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from milepost.client import Milepost

# How long a worker may take to hand over and leave, seconds.
STOP_S = 60.0
# Between two rounds of polling, seconds; KEDA's own default is 30 s.
POLL_S = 0.5
# Rounds for which fewer workers must have been enough.
STABLE_POLLS = 4
_CALL_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Worker:
    """A worker process, from its start to its end."""

    process: asyncio.subprocess.Process
    ready_file: Path

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return self.ready_file.exists() and self.process.returncode is None

    async def leave(self) -> None:
        """SIGTERM; what it has is handed over. Raises RuntimeError when it does not go, or not well."""
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                code = await self.process.wait()
        except TimeoutError:
            self.process.kill()
            code = await self.process.wait()
        if code:
            raise RuntimeError(f"{self.ready_file.stem} left with {code}")


class Fleet:
    """Worker processes of one stack, each alive until it is told to go."""

    def __init__(self, folder: Path, *, environment: Mapping[str, str]) -> None:
        """`environment`: what workers are told beside their own names and places, without `MILEPOST_`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._environment = environment
        self._started = 0
        self._leaving: list[asyncio.Task[None]] = []
        self.workers: dict[str, Worker] = {}
        """Those that were not told to go, oldest first."""

    @property
    def ready(self) -> int:
        """How many of them serve."""
        return sum(worker.ready for worker in self.workers.values())

    async def scale(self, desired: int, *, costs: Mapping[str, int]) -> None:
        """Start workers, or tell some to go: the cheapest, and of those the newest."""
        while len(self.workers) < desired:
            await self._start()
        newest_first = list(reversed(self.workers))
        for name in sorted(newest_first, key=lambda name: costs.get(name, 0))[: len(self.workers) - desired]:
            self._leaving.append(asyncio.create_task(self.workers.pop(name).leave(), name=f"leave {name}"))

    async def gone(self) -> None:
        """Wait until all that were told to go have gone. Raises RuntimeError when one did not go well."""
        await asyncio.gather(*self._leaving)

    async def _start(self) -> None:
        self._started += 1
        name = f"pod-{self._started}"
        ready_file = self._folder / f"{name}.json"
        told = {
            **self._environment,
            "LISTEN": "127.0.0.1:0",
            "METRICS_LISTEN": "127.0.0.1:0",
            "WORKER_ID": name,
            "WORK_DIR": str(self._folder / name),
            "READY_FILE": str(ready_file),
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sim_worker"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **{f"MILEPOST_{key}": words for key, words in told.items()}},
            )
        self.workers[name] = Worker(process, ready_file)


@dataclass(frozen=True, slots=True)
class Reading:
    """One round of polling, from when to when. `slots` None: the load was not known (UNAVAILABLE)."""

    began_s: float
    ended_s: float
    slots: float | None
    active: bool | None
    desired: int
    ready: int


@dataclass(slots=True)
class Autoscaler:
    """Polls the scaler and scales a fleet by what it says, and by nothing else."""

    scaler: ExternalScalerStub
    client: Milepost
    fleet: Fleet
    pool: str
    slots_per_worker: int
    max_workers: int
    poll_s: float = POLL_S
    readings: list[Reading] = field(default_factory=list)
    _recent: deque[int] = field(default_factory=lambda: deque(maxlen=STABLE_POLLS))

    async def __call__(self) -> None:
        """Until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(self.poll_s)

    async def poll(self) -> Reading:
        """One round, as KEDA makes it: GetMetricSpec, GetMetrics, IsActive. What is not known changes nothing."""
        metadata = {"pool": self.pool, "slotsPerWorker": str(self.slots_per_worker)}
        ref = pb.ScaledObjectRef(name="workers", namespace="bench", scalerMetadata=metadata)
        slots, active, began_s = None, None, time.time()
        try:
            (spec,) = (await self.scaler.GetMetricSpec(ref, timeout=_CALL_TIMEOUT_S)).metricSpecs
            request = pb.GetMetricsRequest(scaledObjectRef=ref, metricName=spec.metricName)
            (value,) = (await self.scaler.GetMetrics(request, timeout=_CALL_TIMEOUT_S)).metricValues
            active = (await self.scaler.IsActive(ref, timeout=_CALL_TIMEOUT_S)).result
            slots = value.metricValueFloat
            wanted = math.ceil(slots / spec.targetSizeFloat)
            # KEDA takes the pool from and to zero, the horizontal autoscaler has the rest.
            await self._scale(min(max(wanted, 1), self.max_workers) if active else 0)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        reading = Reading(began_s, time.time(), slots, active, len(self.fleet.workers), self.fleet.ready)
        self.readings.append(reading)
        return reading

    async def _scale(self, desired: int) -> None:
        self._recent.append(desired)
        present = len(self.fleet.workers)
        if desired < present:
            desired = min(present, max(self._recent)) if len(self._recent) == STABLE_POLLS else present
        costs = {}
        if desired < present:
            costs = {worker.worker_id: worker.busy for worker in (await self.client.sessions.statistics()).workers}
        await self.fleet.scale(desired, costs=costs)


@asynccontextmanager
async def autoscaled(
    folder: Path,
    client: Milepost,
    *,
    session_api: str,
    event_store: str,
    nats_url: str,
    slots: int,
    max_workers: int,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Autoscaler]:
    """A scaler and its fleet, for a stack without workers. All workers have gone at the end.

    Call it, or `poll` again and again. `environment` goes to the workers, without `MILEPOST_`.
    """
    told = {"NATS_URL": nats_url, "EVENT_STORE": event_store, "SLOTS": str(slots), **(environment or {})}
    async with grpc.aio.insecure_channel(session_api) as channel:
        fleet = Fleet(folder, environment=told)
        try:
            yield Autoscaler(ExternalScalerStub(channel), client, fleet, "sumo-1_28_0", slots, max_workers)
        finally:
            await fleet.scale(0, costs={})
            await fleet.gone()
