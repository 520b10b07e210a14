"""What a session needs of SUMO. Two implementations: libsumo in this process, and the `sumo` binary over TraCI."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

# What SUMO gives as a coordinate of a vehicle or person that is nowhere, for instance while it teleports.
NOWHERE: Final = -1073741824.0
# Columns of `State.vehicles` and `State.persons`.
COLUMNS: Final = 4


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
class State:
    """The simulation between two steps. Numbers are x (m), y (m), speed (m/s), angle (degrees) one after the other."""

    vehicle_ids: Sequence[str]
    vehicles: Sequence[float]
    person_ids: Sequence[str]
    persons: Sequence[float]
    signals: Sequence[tuple[str, str, int]]
    """Id, state, index of the phase."""


class Engine(Protocol):
    """One simulation, once. Every method raises EngineFailed when SUMO cannot go on."""

    def start(self, arguments: Sequence[str]) -> Clock:
        """Load the scene; `arguments` are SUMO's, without the program. Raises EngineUnavailable too."""

    def step(self) -> None:
        """Simulate one step."""

    def expected(self) -> int:
        """Vehicles and persons that are in the network or still to come."""

    def parameter(self, key: str) -> str:
        """A value of SUMO's own statistics, as it prints it."""

    def state(self) -> State:
        """The state now; vehicles and persons in the order of their ids, signals in SUMO's."""

    def close(self) -> None:
        """End the simulation; its outputs are complete after it."""
