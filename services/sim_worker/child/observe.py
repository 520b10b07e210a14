"""What is told of a state: KPIs, digest, frame."""

import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from milepost.child.v1.child_pb2 import SnapshotPlace
from milepost.event.v1.frame_pb2 import Frame
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import KpiName
from milepost.state.v1.state_pb2 import Persons, Signals, SimulationState, Vehicles
from sim_worker.child.engine import NOWHERE, Engine, State

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
    moving = state.vehicles
    speeds = [speed for (x, _), speed in zip(moving.places, moving.speeds, strict=True) if x != NOWHERE]
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
    names joined by NUL, then all places and all speeds (f64) or phases (i32), little endian. Where a vehicle
    heads follows from where it was and is.
    """
    digest = hashlib.blake2b(previous, digest_size=_DIGEST_BYTES)
    for moving in (state.vehicles, state.persons):
        digest.update(_names(moving.ids))
        digest.update(struct.pack(f"<{3 * len(moving.ids)}d", *chain.from_iterable(moving.places), *moving.speeds))
    digest.update(_names([text for signal_id, lights, _ in state.signals for text in (signal_id, lights)]))
    digest.update(struct.pack(f"<{len(state.signals)}i", *(phase for _, _, phase in state.signals)))
    return digest.digest()


def frame_of(engine: Engine, *, step: int, sim_time_s: float) -> Frame:
    """All vehicles that are somewhere; above the limit those whose ids hash lowest, so that the same ones stay."""
    moving = engine.state().vehicles
    chosen = [index for index, (x, _) in enumerate(moving.places) if x != NOWHERE]
    if len(chosen) > MAX_FRAME_VEHICLES:
        chosen.sort(key=lambda index: zlib.crc32(moving.ids[index].encode()))
        del chosen[MAX_FRAME_VEHICLES:]
    ids = [moving.ids[index] for index in chosen]
    return Frame(
        step=step,
        sim_time_s=sim_time_s,
        ids=ids,
        x=[moving.places[index][0] for index in chosen],
        y=[moving.places[index][1] for index in chosen],
        speed_mps=[moving.speeds[index] for index in chosen],
        angle_deg=engine.angles(ids),
        vehicles_total=len(moving.ids),
    )


def simulation_state(engine: Engine, place: SnapshotPlace) -> SimulationState:
    """Everything that moves and every signal; a place of a vehicle that is nowhere is SUMO's number for it."""
    state = engine.state()
    vehicles, persons = state.vehicles, state.persons
    return SimulationState(
        step=place.step,
        sim_time_s=place.sim_time_s,
        kpis=place.kpis,
        vehicles=Vehicles(
            ids=vehicles.ids,
            x=[x for x, _ in vehicles.places],
            y=[y for _, y in vehicles.places],
            speed_mps=vehicles.speeds,
            angle_deg=engine.angles(vehicles.ids),
        ),
        persons=Persons(
            ids=persons.ids,
            x=[x for x, _ in persons.places],
            y=[y for _, y in persons.places],
            speed_mps=persons.speeds,
        ),
        signals=Signals(
            ids=[signal for signal, _, _ in state.signals],
            states=[lights for _, lights, _ in state.signals],
            phases=[phase for _, _, phase in state.signals],
        ),
        state_digest=place.state_digest,
    )


def _names(names: Sequence[str]) -> bytes:
    joined = "\0".join(names).encode()
    return struct.pack("<I", len(joined)) + joined
