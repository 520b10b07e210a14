"""The KPIs at the end, as SUMO itself writes them.

Closing a simulation may change them: vehicles still on their way count as trips with
`--tripinfo-output.write-unfinished`. So they are read from the statistic output, which SUMO writes last of all.
"""

import gzip
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from milepost.kpi.v1.kpi_pb2 import Kpis
from sim_worker.child.observe import seconds

_OPTION: Final = "--statistic-output"
_OWN_FILE: Final = "statistics.xml"
# Without it, or an output of every trip, the means over trips are left out of the statistics.
_TRIPS_OPTION: Final = "--duration-log.statistics"
_DISCARDED: Final = ("", "nul", "NUL", "/dev/null")

_COUNTS: Final = {
    "loaded": ("vehicles", "loaded"),
    "departed": ("vehicles", "inserted"),
    "running": ("vehicles", "running"),
    "waiting": ("vehicles", "waiting"),
    "teleports": ("teleports", "total"),
    "collisions": ("safety", "collisions"),
    "emergency_stops": ("safety", "emergencyStops"),
    "emergency_brakings": ("safety", "emergencyBraking"),
    "persons": ("persons", "running"),
    "trips": ("vehicleTripStatistics", "count"),
}
_MEANS: Final = {
    "mean_route_length_m": ("vehicleTripStatistics", "routeLength"),
    "mean_trip_speed_mps": ("vehicleTripStatistics", "speed"),
    "mean_travel_time_s": ("vehicleTripStatistics", "duration"),
    "mean_waiting_time_s": ("vehicleTripStatistics", "waitingTime"),
    "mean_time_loss_s": ("vehicleTripStatistics", "timeLoss"),
    "mean_depart_delay_s": ("vehicleTripStatistics", "departDelay"),
    "total_travel_time_s": ("vehicleTripStatistics", "totalTravelTime"),
    "total_depart_delay_s": ("vehicleTripStatistics", "totalDepartDelay"),
}


def with_statistics(arguments: Sequence[str]) -> tuple[list[str], Path]:
    """The arguments, extended so that SUMO writes its statistics, and where. Changes nothing that is simulated."""
    extended = list(arguments)
    if _TRIPS_OPTION not in extended:
        extended.append(_TRIPS_OPTION)
    if _OPTION not in extended:
        return [*extended, _OPTION, _OWN_FILE], Path(_OWN_FILE)
    value = extended.index(_OPTION) + 1
    if extended[value] in _DISCARDED:
        extended[value] = _OWN_FILE
    return extended, Path(extended[value])


def final_kpis(statistics: Path, latest: Kpis) -> Kpis:
    """`latest` with everything that the statistics say.

    A scenario may want them in a form other than XML; then `latest` stands, which lacks unfinished trips only.
    """
    try:
        with gzip.open(statistics) if statistics.suffix == ".gz" else statistics.open("rb") as file:
            # Written by SUMO a moment ago, numbers only.
            root = ET.parse(file).getroot()  # noqa: S314
    except (OSError, ET.ParseError):
        return latest

    def attribute(place: tuple[str, str]) -> str:
        element = root.find(place[0])
        return "" if element is None else element.get(place[1], "")

    found: dict[str, Any] = {name: int(text) for name, place in _COUNTS.items() if (text := attribute(place))}
    found |= {name: seconds(text) for name, place in _MEANS.items() if (text := attribute(place))}
    kpis = Kpis()
    kpis.CopyFrom(latest)
    for name, value in found.items():
        setattr(kpis, name, value)
    return kpis
