"""KPIs of a part of a simulation, and of two parts together.

Counts add up; means over trips are weighed by trips; the rest is the state at the end and stays as it is.
"""

from typing import Final

from milepost.kpi.v1.kpi_pb2 import Kpis

_COUNTS: Final = (
    *("loaded", "departed", "arrived", "teleports", "collisions", "emergency_stops", "emergency_brakings", "trips"),
)
_TOTALS: Final = ("total_travel_time_s", "total_depart_delay_s")
_MEANS: Final = (
    *("mean_route_length_m", "mean_trip_speed_mps", "mean_travel_time_s"),
    *("mean_waiting_time_s", "mean_time_loss_s", "mean_depart_delay_s"),
)
# SUMO's word for a mean over nothing.
_NONE: Final = -1.0


def difference(whole: Kpis, first: Kpis) -> Kpis:
    """What came after `first`, which `whole` begins with."""
    return _combined(whole, first, -1)


def plus(first: Kpis, then: Kpis) -> Kpis:
    """Both, one after the other; the state is that of `then`."""
    return _combined(then, first, 1)


def _combined(latter: Kpis, former: Kpis, sign: int) -> Kpis:
    kpis = Kpis()
    kpis.CopyFrom(latter)
    for name in _COUNTS:
        setattr(kpis, name, getattr(latter, name) + sign * getattr(former, name))
    for name in _TOTALS:
        setattr(kpis, name, _amount(latter, name) + sign * _amount(former, name))
    for name in _MEANS:
        total = _total(latter, name) + sign * _total(former, name)
        setattr(kpis, name, total / kpis.trips if kpis.trips > 0 else _NONE)
    return kpis


def _amount(kpis: Kpis, name: str) -> float:
    return float(getattr(kpis, name)) if kpis.trips else 0.0


def _total(kpis: Kpis, name: str) -> float:
    return float(getattr(kpis, name)) * kpis.trips if kpis.trips else 0.0
