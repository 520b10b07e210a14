"""Interventions as they are written on a command line or in a file."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer
from google.protobuf.json_format import ParseDict, ParseError

from milepost.intervention.v1.intervention_pb2 import (
    AddVehicle,
    Close,
    Intervention,
    Open,
    Place,
    ReleaseVehicle,
    RemoveVehicles,
    Reroute,
    ScaleDemand,
    SetSignal,
    SetSpeedLimit,
    StopVehicle,
)
from milepost.session.v1.session_pb2 import PlannedIntervention

_Form = TypeVar("_Form", Intervention, PlannedIntervention)

# SUMO's ids may hold `=` and `:`; what can follow them here is known.
_SIGNAL = re.compile(r"(?P<id>.+?)=(?P<what>program|phase|state):(?P<value>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of `milepost intervene`, as given. Lists may hold several ids with commas between (no id has one)."""

    close_edges: Sequence[str] = ()
    close_lanes: Sequence[str] = ()
    open_edges: Sequence[str] = ()
    open_lanes: Sequence[str] = ()
    classes: Sequence[str] = ()
    speed: str | None = None
    signal: str | None = None
    scale: float | None = None
    stop: str | None = None
    release: str | None = None
    remove: Sequence[str] = ()
    add: str | None = None
    reroute: bool = False
    vehicles: Sequence[str] = ()
    to_edge: str = ""
    file: Path | None = None


def intervention_of(wish: Wish) -> Intervention:
    """The one change that is wished for. Raises typer.BadParameter when there is none, several, or a wrong one."""
    changes = [change() for given, change in _changes(wish) if given]
    if len(changes) != 1:
        many = "say one change; for several, call again" if changes else "say what to change; see --help"
        raise typer.BadParameter(many)
    if wish.classes and changes[0].WhichOneof("change") not in {"close", "open"}:
        raise typer.BadParameter("goes with closing and opening only", param_hint="--class")
    if (wish.vehicles or wish.to_edge) and not wish.reroute:
        raise typer.BadParameter("goes with --reroute only", param_hint="--vehicle" if wish.vehicles else "--to-edge")
    return changes[0]


def interventions_in(path: Path) -> list[Intervention]:
    """Interventions of a file in proto3 JSON: one, or a list of them. Raises typer.BadParameter."""
    return _messages_in(path, Intervention)


def planned_in(path: Path) -> list[PlannedIntervention]:
    """Interventions and their times (`at_time_s`, `intervention`), as `interventions_in`."""
    return _messages_in(path, PlannedIntervention)


def _messages_in(path: Path, form: type[_Form]) -> list[_Form]:
    try:
        read: Any = json.loads(path.read_text())
        return [ParseDict(one, form()) for one in (read if isinstance(read, list) else [read])]
    except (OSError, ValueError, ParseError) as wrong:
        raise typer.BadParameter(f"{path}: {wrong}") from None


def _changes(wish: Wish) -> list[tuple[bool, Callable[[], Intervention]]]:
    """Every kind of change: whether it is wished for, and how it is made."""
    return [
        (bool(wish.close_edges or wish.close_lanes), lambda: _close(wish)),
        (bool(wish.open_edges or wish.open_lanes), lambda: _open(wish)),
        (wish.speed is not None, lambda: _speed(wish.speed or "")),
        (wish.signal is not None, lambda: _signal(wish.signal or "")),
        (wish.scale is not None, lambda: Intervention(scale_demand=ScaleDemand(factor=wish.scale or 0.0))),
        (wish.stop is not None, lambda: _stop(wish.stop or "")),
        (wish.release is not None, lambda: Intervention(release_vehicle=ReleaseVehicle(vehicle_id=wish.release or ""))),
        (bool(wish.remove), lambda: Intervention(remove_vehicles=RemoveVehicles(vehicle_ids=_split(wish.remove)))),
        (wish.add is not None, lambda: _add(wish.add or "")),
        (wish.reroute, lambda: _reroute(wish)),
        (wish.file is not None, lambda: _only(interventions_in(wish.file or Path()))),
    ]


def _close(wish: Wish) -> Intervention:
    place = Place(edge_ids=_split(wish.close_edges), lane_ids=_split(wish.close_lanes))
    return Intervention(close=Close(place=place, vehicle_classes=_split(wish.classes)))


def _open(wish: Wish) -> Intervention:
    place = Place(edge_ids=_split(wish.open_edges), lane_ids=_split(wish.open_lanes))
    return Intervention(open=Open(place=place, vehicle_classes=_split(wish.classes)))


def _speed(text: str) -> Intervention:
    edges, speed_mps = _with_number(text, "--speed", "EDGE=13.9 (m/s)")
    return Intervention(set_speed_limit=SetSpeedLimit(place=Place(edge_ids=_split([edges])), speed_mps=speed_mps))


def _stop(text: str) -> Intervention:
    vehicle_id, duration_s = _with_number(text, "--stop", "VEHICLE=60 (s)")
    return Intervention(stop_vehicle=StopVehicle(vehicle_id=vehicle_id, duration_s=duration_s))


def _signal(text: str) -> Intervention:
    found = _SIGNAL.fullmatch(text)
    if found is None or (found["what"] == "phase" and not found["value"].isdecimal()):
        raise typer.BadParameter("must be ID=program:P, ID=phase:N or ID=state:rGr", param_hint="--signal")
    change = SetSignal(signal_id=found["id"])
    match found["what"]:
        case "program":
            change.program_id = found["value"]
        case "phase":
            change.phase = int(found["value"])
        case _:
            change.state = found["value"]
    return Intervention(set_signal=change)


def _add(text: str) -> Intervention:
    vehicle_id, equals, edges = text.partition("=")
    if not vehicle_id or not equals or not edges:
        raise typer.BadParameter("must be VEHICLE=EDGE,EDGE", param_hint="--add")
    return Intervention(add_vehicle=AddVehicle(vehicle_id=vehicle_id, route_edges=_split([edges])))


def _reroute(wish: Wish) -> Intervention:
    return Intervention(reroute=Reroute(vehicle_ids=_split(wish.vehicles), target_edge_id=wish.to_edge))


def _only(found: list[Intervention]) -> Intervention:
    if len(found) != 1:
        raise typer.BadParameter(f"holds {len(found)} interventions, not one", param_hint="--file")
    return found[0]


def _with_number(text: str, option: str, form: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not name or not value > 0:
        raise typer.BadParameter(f"must be {form}", param_hint=option)
    return name, value


def _split(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in value.split(",") if part]
