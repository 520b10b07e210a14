"""From an intervention to its changes, and from there into the simulation."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from milepost.intervention.v1.intervention_pb2 import Intervention, ScaleDemand
from sim_worker.child.engine import Engine
from sim_worker.child.interventions.looks import Changes, Looks, Refusal
from sim_worker.child.interventions.persons import add_person
from sim_worker.child.interventions.signals import add_signal_program, set_signal
from sim_worker.child.interventions.streets import Streets
from sim_worker.child.interventions.vehicle_stops import release_vehicle, stop_vehicle
from sim_worker.child.interventions.vehicles import add_vehicle, remove_vehicles, reroute, set_vehicle


class Interventions:
    """Checks and applies them. Remembers what the network was like: the same after equal interventions."""

    def __init__(self, engine: Engine) -> None:
        self._looks = Looks(engine)
        streets = Streets(self._looks)
        self._kinds: dict[str, Callable[[Any], Changes]] = {
            "close": streets.close,
            "open": streets.open,
            "set_speed_limit": streets.set_speed_limit,
            "set_signal": partial(set_signal, self._looks),
            "add_signal_program": partial(add_signal_program, self._looks),
            "add_vehicle": partial(add_vehicle, self._looks),
            "add_person": partial(add_person, self._looks),
            "remove_vehicles": partial(remove_vehicles, self._looks),
            "reroute": partial(reroute, self._looks),
            "stop_vehicle": partial(stop_vehicle, self._looks),
            "release_vehicle": partial(release_vehicle, self._looks),
            "scale_demand": partial(_scale_demand, self._looks),
            "set_vehicle": partial(set_vehicle, self._looks),
        }

    def check(self, intervention: Intervention) -> None:
        """Raises Refusal when it could not be applied now."""
        self._changes(intervention)

    def apply(self, intervention: Intervention) -> None:
        """Raises Refusal, and nothing was changed.

        Should SUMO refuse a change behind one that it has made, the intervention counts as applied: repeated at
        the same step it comes exactly as far.
        """
        for number, change in enumerate(self._changes(intervention)):
            try:
                change()
            except self._looks.engine.refusal as error:
                if not number:
                    raise Refusal(str(error), str(intervention.WhichOneof("change"))) from error
                sys.stderr.write(f"Warning: an intervention was applied in part: {error}\n")
                return

    def _changes(self, intervention: Intervention) -> Changes:
        """Raises Refusal."""
        kind = intervention.WhichOneof("change")
        if kind is None:
            raise Refusal("it does not say what to change", "change")
        return self._kinds[kind](getattr(intervention, kind))


def _scale_demand(looks: Looks, asked: ScaleDemand) -> Changes:
    if not 0.0 <= asked.factor < float("inf"):
        raise Refusal("the factor must not be negative", "factor")
    return [lambda: looks.api.simulation.setScale(asked.factor)]
