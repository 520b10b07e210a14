"""What a session needs of SUMO. Two implementations: libsumo in this process, and the `sumo` binary over TraCI."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

# What SUMO gives as a coordinate of a vehicle or person that is nowhere, for instance while it teleports.
NOWHERE: Final = -1073741824.0


class EngineUnavailable(Exception):
    """The engine is not installed here, or its installation is broken."""


class EngineFailed(Exception):
    """SUMO refused the scenario or cannot go on; its words are in `sumo.log`."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a loaded simulation starts from: times in seconds, SUMO's version."""

    begin_time_s: float
    step_length_s: float
    sumo_version: str


@dataclass(frozen=True, slots=True)
class Moving:
    """Vehicles or persons between two steps, in the order of their ids."""

    ids: Sequence[str]
    places: Sequence[tuple[float, float]]
    """x and y, m."""
    speeds: Sequence[float]
    """m/s."""


@dataclass(frozen=True, slots=True)
class State:
    """The simulation between two steps. Each value costs a call per vehicle: only what is needed is here."""

    vehicles: Moving
    persons: Moving
    signals: Sequence[tuple[str, str, int]]
    """Id, state, index of the phase."""


class Engine(Protocol):
    """One simulation, once. Every method raises EngineFailed when SUMO cannot go on."""

    def start(self, arguments: Sequence[str]) -> Clock:
        """Load the scene; `arguments` are SUMO's, without the program. Raises EngineUnavailable too."""

    def step_to(self, time_s: float) -> None:
        """Simulate whole steps until the time is reached: as many as are given at once, the cheaper each."""

    def expected(self) -> int:
        """Vehicles and persons that are in the network or still to come."""

    def parameter(self, key: str) -> str:
        """A value of SUMO's own statistics, as it prints it."""

    def state(self) -> State:
        """The state now; signals in SUMO's order."""

    def angles(self, vehicle_ids: Sequence[str]) -> Sequence[float]:
        """Where vehicles that are present head, degrees clockwise from north."""

    @property
    def api(self) -> Any:
        """TraCI's domains (`.vehicle`, `.lane` …), the same for both."""

    @property
    def refusal(self) -> type[Exception]:
        """What a call of `api` raises that SUMO refuses; the simulation can go on."""

    @property
    def can_be_copied(self) -> bool:
        """Whether a fork of this process holds the whole simulation."""

    def vehicle_ids(self) -> Sequence[str]:
        """Vehicles in the network, in the order of their ids."""

    def forget_vehicles(self, vehicle_ids: Sequence[str]) -> None:
        """Vehicles were taken out between two steps."""

    def save_state(self, path: str) -> None:
        """Write a state file."""

    def close(self) -> None:
        """End the simulation; its outputs are complete after it."""
