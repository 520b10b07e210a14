"""What is told of a state: KPIs, digest, frame."""

import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final

from milepost.event.v1.frame_pb2 import Frame
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import KpiName
from sim_worker.child.engine import COLUMNS, NOWHERE, Engine, State

# SUMO's own bound between standing and driving, m/s.
_HALTING_BELOW_MPS: Final = 0.1
_DIGEST_BYTES: Final = 16
# Vehicles in a frame: with ids of 20 characters it stays below the broker's 1 MiB a message.
MAX_FRAME_VEHICLES: Final = 20_000

# KPI: where SUMO counts it.
_COUNTS: Final = {
    "loaded": "stats.vehicles.loaded",
    "departed": "stats.vehicles.inserted",
    "running": "stats.vehicles.running",
    "waiting": "stats.vehicles.waiting",
    "teleports": "stats.teleports.total",
    "collisions": "stats.safety.collisions",
    "emergency_stops": "stats.safety.emergencyStops",
    "emergency_brakings": "stats.safety.emergencyBraking",
    "trips": "device.tripinfo.count",
    "persons": "stats.persons.running",
}
_MEANS: Final = {
    "mean_route_length_m": "device.tripinfo.routeLength",
    "mean_trip_speed_mps": "device.tripinfo.speed",
    "mean_travel_time_s": "device.tripinfo.duration",
    "mean_waiting_time_s": "device.tripinfo.waitingTime",
    "mean_time_loss_s": "device.tripinfo.timeLoss",
    "mean_depart_delay_s": "device.tripinfo.departDelay",
    "total_travel_time_s": "device.tripinfo.totalTravelTime",
    "total_depart_delay_s": "device.tripinfo.totalDepartDelay",
}
_GOAL_FIELDS: Final = {
    KpiName.KPI_NAME_DEPARTED: "departed",
    KpiName.KPI_NAME_ARRIVED: "arrived",
    KpiName.KPI_NAME_RUNNING: "running",
    KpiName.KPI_NAME_TELEPORTS: "teleports",
    KpiName.KPI_NAME_COLLISIONS: "collisions",
    KpiName.KPI_NAME_HALTING: "halting",
    KpiName.KPI_NAME_WAITING: "waiting",
}


def kpis_of(engine: Engine, state: State) -> Kpis:
    """The KPIs now. Raises EngineFailed."""
    counts: dict[str, Any] = {name: int(engine.parameter(key)) for name, key in _COUNTS.items()}
    means: dict[str, Any] = {name: seconds(engine.parameter(key)) for name, key in _MEANS.items()}
    places, speeds = state.vehicles[0::COLUMNS], state.vehicles[2::COLUMNS]
    if NOWHERE in places:
        speeds = [speed for x, speed in zip(places, speeds, strict=True) if x != NOWHERE]
    return Kpis(
        **counts,
        **means,
        # SUMO has no statistic of its own for it; who entered and is not there any more has left.
        arrived=counts["departed"] - counts["running"],
        halting=len([speed for speed in speeds if speed < _HALTING_BELOW_MPS]),
        # fsum: exact, hence the same in every version of Python.
        mean_speed_mps=math.fsum(speeds) / len(speeds) if speeds else -1.0,
    )


def seconds(text: str) -> float:
    """A number as SUMO prints it; with `--human-readable-time` some are `[days:]hours:minutes:seconds`."""
    if ":" not in text:
        return float(text)
    parts = text.split(":")
    return sum(float(part) * scale for part, scale in zip(reversed(parts), (1, 60, 3600, 86_400), strict=False))


def goal_value(kpis: Kpis, name: KpiName.ValueType) -> int:
    """The value of the KPI a session can end on."""
    return int(getattr(kpis, _GOAL_FIELDS[name]))


def chained_digest(previous: bytes, state: State) -> bytes:
    """BLAKE2b-128 over the digest before and the state.

    previous (16 bytes, none at first) | vehicles | persons | signals, each: length of the names (u32), the
    names joined by NUL, then all numbers (f64) or phases (i32), little endian.
    """
    digest = hashlib.blake2b(previous, digest_size=_DIGEST_BYTES)
    for ids, numbers in ((state.vehicle_ids, state.vehicles), (state.person_ids, state.persons)):
        digest.update(_names(ids))
        digest.update(struct.pack(f"<{len(numbers)}d", *numbers))
    digest.update(_names([text for signal_id, lights, _ in state.signals for text in (signal_id, lights)]))
    digest.update(struct.pack(f"<{len(state.signals)}i", *(phase for _, _, phase in state.signals)))
    return digest.digest()


def frame_of(state: State, *, step: int, sim_time_s: float) -> Frame:
    """All vehicles that are somewhere; above the limit those whose ids hash lowest, so that the same ones stay."""
    chosen = [index for index, x in enumerate(state.vehicles[0::COLUMNS]) if x != NOWHERE]
    if len(chosen) > MAX_FRAME_VEHICLES:
        chosen.sort(key=lambda index: zlib.crc32(state.vehicle_ids[index].encode()))
        del chosen[MAX_FRAME_VEHICLES:]
    columns = [[state.vehicles[index * COLUMNS + column] for index in chosen] for column in range(COLUMNS)]
    return Frame(
        step=step,
        sim_time_s=sim_time_s,
        ids=[state.vehicle_ids[index] for index in chosen],
        x=columns[0],
        y=columns[1],
        speed_mps=columns[2],
        angle_deg=columns[3],
        vehicles_total=len(state.vehicle_ids),
    )


def _names(names: Sequence[str]) -> bytes:
    joined = "\0".join(names).encode()
    return struct.pack("<I", len(joined)) + joined
