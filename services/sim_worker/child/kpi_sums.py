"""KPIs of a part of a simulation, and of a simulation that SUMO remembers in part.

Counts add up; means over trips are weighed by trips, and are as exact as the two decimals that SUMO gives allow;
the rest is the state at the end and stays as it is.
"""

from typing import Final

from milepost.kpi.v1.kpi_pb2 import Kpis

# What a process that has loaded a state file counts from zero. Vehicles that were loaded and departed it finds in
# the file (measured with SUMO 1.28), and with them those that arrived.
_FORGOTTEN: Final = ("teleports", "collisions", "emergency_stops", "emergency_brakings", "trips")
_COUNTS: Final = ("loaded", "departed", "arrived", *_FORGOTTEN)
_TOTALS: Final = ("total_travel_time_s", "total_depart_delay_s")
_MEANS: Final = (
    *("mean_route_length_m", "mean_trip_speed_mps", "mean_travel_time_s"),
    *("mean_waiting_time_s", "mean_time_loss_s", "mean_depart_delay_s"),
)
# SUMO gives sums and means with two.
_DECIMALS: Final = 2


def difference(whole: Kpis, first: Kpis) -> Kpis:
    """What came after `first`, which `whole` begins with."""
    return _combined(whole, first, _COUNTS, -1)


def resumed(before: Kpis, counted: Kpis) -> Kpis:
    """The KPIs of a simulation that went on from a state file taken at `before`; `counted` are SUMO's own since."""
    kpis = _combined(counted, before, _FORGOTTEN, 1)
    kpis.approximate_trips = True
    return kpis


def _combined(latter: Kpis, former: Kpis, counts: tuple[str, ...], sign: int) -> Kpis:
    kpis = Kpis()
    kpis.CopyFrom(latter)
    for name in counts:
        setattr(kpis, name, getattr(latter, name) + sign * getattr(former, name))
    for name in _TOTALS:
        setattr(kpis, name, round(getattr(latter, name) + sign * getattr(former, name), _DECIMALS))
    for name in _MEANS:
        total = getattr(latter, name) * latter.trips + sign * getattr(former, name) * former.trips
        setattr(kpis, name, round(total / kpis.trips, _DECIMALS) if kpis.trips else 0.0)
    return kpis
