"""SUMO inside this process. The generated functions are called directly: their wrappers cost half as much again."""

from collections.abc import Sequence
from typing import Any

from sim_worker.child.engine import Clock, EngineFailed, Moving, State
from sim_worker.child.present import Present

try:
    import libsumo
    from libsumo import _libsumo as raw
except ImportError as error:
    # Reported by the zygote, which knows the packages to name; nobody makes a LibsumoEngine then.
    IMPORT_FAILURE = str(error)
else:
    IMPORT_FAILURE = ""


class LibsumoEngine:
    """See Engine. One per process: a second start would silently replace the first."""

    def start(self, arguments: Sequence[str]) -> Clock:
        """See Engine."""
        try:
            _, version = raw.simulation_start(["sumo", *arguments])
            self._signal_ids = raw.trafficlight_getIDList()
            self._vehicles = Present(raw.vehicle_getIDList())
            self._persons = Present(raw.person_getIDList())
            return Clock(raw.simulation_getTime(), raw.simulation_getDeltaT(), version.removeprefix("SUMO "))
        except (libsumo.TraCIException, libsumo.FatalTraCIError) as error:
            raise EngineFailed(str(error)) from error

    def step_to(self, time_s: float) -> None:
        """See Engine."""
        try:
            raw.simulation_step(time_s)
        except (libsumo.TraCIException, libsumo.FatalTraCIError) as error:
            raise EngineFailed(str(error)) from error
        if raw.simulation_getDepartedNumber() or raw.simulation_getArrivedNumber():
            self._vehicles.update(
                departed=raw.simulation_getDepartedIDList(), arrived=raw.simulation_getArrivedIDList()
            )
        if raw.simulation_getDepartedPersonNumber() or raw.simulation_getArrivedPersonNumber():
            self._persons.update(
                departed=raw.simulation_getDepartedPersonIDList(), arrived=raw.simulation_getArrivedPersonIDList()
            )

    def expected(self) -> int:
        """See Engine."""
        return int(raw.simulation_getMinExpectedNumber())

    def parameter(self, key: str) -> str:
        """See Engine."""
        try:
            return str(raw.simulation_getParameter("", key))
        except libsumo.TraCIException as error:
            raise EngineFailed(f"no {key}: {error}") from error

    def state(self) -> State:
        """See Engine. 1,000 vehicles take 0.3 ms."""
        vehicles, persons = tuple(self._vehicles.ids), tuple(self._persons.ids)
        light, phase = raw.trafficlight_getRedYellowGreenState, raw.trafficlight_getPhase
        signals = [(s, light(s), phase(s)) for s in self._signal_ids]
        return State(
            Moving(vehicles, list(map(raw.vehicle_getPosition, vehicles)), list(map(raw.vehicle_getSpeed, vehicles))),
            Moving(persons, list(map(raw.person_getPosition, persons)), list(map(raw.person_getSpeed, persons))),
            signals,
        )

    def angles(self, vehicle_ids: Sequence[str]) -> Sequence[float]:
        """See Engine."""
        return list(map(raw.vehicle_getAngle, vehicle_ids))

    @property
    def api(self) -> Any:
        """See Engine."""
        return libsumo

    @property
    def refusal(self) -> type[Exception]:
        """See Engine."""
        refusal: type[Exception] = libsumo.TraCIException
        return refusal

    @property
    def can_be_copied(self) -> bool:
        """See Engine."""
        return True

    def vehicle_ids(self) -> Sequence[str]:
        """See Engine."""
        return tuple(self._vehicles.ids)

    def forget_vehicles(self, vehicle_ids: Sequence[str]) -> None:
        """See Engine."""
        self._vehicles.update(departed=(), arrived=vehicle_ids)

    def save_state(self, path: str) -> None:
        """See Engine."""
        try:
            raw.simulation_saveState(path)
        except (libsumo.TraCIException, libsumo.FatalTraCIError) as error:
            raise EngineFailed(str(error)) from error

    def close(self) -> None:
        """See Engine."""
        try:
            raw.simulation_close("The session ended.")
        except (libsumo.TraCIException, libsumo.FatalTraCIError) as error:
            raise EngineFailed(str(error)) from error
