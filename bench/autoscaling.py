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
from json import loads
from pathlib import Path

import grpc

from externalscaler import externalscaler_pb2 as pb
from externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from milepost.client import Milepost
from milepost.up.child import Child, ChildSpec

# How long a worker may take to hand over and leave, seconds.
STOP_S = 60.0
# Between two rounds of polling, seconds; KEDA's own default is 30 s.
POLL_S = 0.5
# Rounds for which fewer workers must have been enough.
STABLE_POLLS = 4
_CALL_TIMEOUT_S = 10.0


class Fleet:
    """Worker processes of one stack. Each is alive until it is told to go; one that dies is started again."""

    def __init__(self, folder: Path, tasks: asyncio.TaskGroup, *, environment: Mapping[str, str]) -> None:
        """`environment`: what workers are told beside their own names and places, without `MILEPOST_`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._tasks = tasks
        self._environment = environment
        self._started = 0
        self._leaving: list[asyncio.Task[None]] = []
        self.workers: dict[str, Child] = {}
        """Those that were not told to go, oldest first."""

    @property
    def ready(self) -> int:
        """How many of them serve."""
        return sum(child.pid is not None for child in self.workers.values())

    def scale(self, desired: int, *, costs: Mapping[str, int]) -> None:
        """Start workers, or tell some to go: the cheapest, and of those the newest."""
        while len(self.workers) < desired:
            self._start()
        newest_first = list(reversed(self.workers))
        for name in sorted(newest_first, key=lambda name: costs.get(name, 0))[: len(self.workers) - desired]:
            child = self.workers.pop(name)
            self._leaving.append(self._tasks.create_task(child.stop(), name=f"stop {name}"))

    async def gone(self) -> None:
        """Wait until all that were told to go have gone."""
        await asyncio.gather(*self._leaving)

    def _start(self) -> None:
        self._started += 1
        name = f"pod-{self._started}"
        ready = self._folder / f"{name}.json"
        told = {
            **self._environment,
            "LISTEN": "127.0.0.1:0",
            "METRICS_LISTEN": "127.0.0.1:0",
            "WORKER_ID": name,
            "WORK_DIR": str(self._folder / name),
            "READY_FILE": str(ready),
        }

        async def serves(pid: int) -> bool:
            return ready.exists() and loads(ready.read_text())["pid"] == pid

        spec = ChildSpec(
            name=name,
            command=(sys.executable, "-m", "sim_worker"),
            environment={**os.environ, **{f"MILEPOST_{key}": words for key, words in told.items()}},
            log=self._folder / f"{name}.log",
            serves=serves,
            stop_timeout_s=STOP_S,
        )
        self.workers[name] = child = Child(spec, changed=lambda: None)
        self._tasks.create_task(child.keep_alive(), name=name)


@dataclass(frozen=True, slots=True)
class Reading:
    """One round of polling. `slots` None: the load was not known (UNAVAILABLE)."""

    at_s: float
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
        slots, active = None, None
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
        reading = Reading(time.time(), slots, active, len(self.fleet.workers), self.fleet.ready)
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
        self.fleet.scale(desired, costs=costs)


@asynccontextmanager
async def autoscaled(
    folder: Path, client: Milepost, *, session_api: str, event_store: str, nats_url: str, slots: int, max_workers: int
) -> AsyncIterator[Autoscaler]:
    """A fleet for a stack without workers, scaled while the body runs; all of it has gone at the end."""
    environment = {"NATS_URL": nats_url, "EVENT_STORE": event_store, "SLOTS": str(slots)}
    async with grpc.aio.insecure_channel(session_api) as channel, asyncio.TaskGroup() as tasks:
        fleet = Fleet(folder, tasks, environment=environment)
        scaler = Autoscaler(ExternalScalerStub(channel), client, fleet, "sumo-1_28_0", slots, max_workers)
        scaling = tasks.create_task(scaler(), name="autoscaler")
        try:
            yield scaler
        finally:
            scaling.cancel()
            fleet.scale(0, costs={})
            await fleet.gone()
