"""SUMO as the `sumo` binary beside this process, driven over TraCI. For builds without libsumo."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import traci.constants as tc

# Not from `traci.exceptions`: importing libsumo puts its own class there, which a connection never raises.
from traci.connection import TraCIException
from traci.exceptions import FatalTraCIError

from sim_worker.child.confine import die_with, own_loopback
from sim_worker.child.engine import Clock, EngineFailed, EngineUnavailable, Moving, State
from sim_worker.child.installation import open_binary
from sim_worker.child.present import Present
from sim_worker.child.traci_batch import BatchConnection

_LOOPBACK: Final = "127.0.0.1"
# In a network namespace of its own every port is free.
_OWN_PORT: Final = 8813
# Elsewhere a child's own port follows from its process id, so that two children never try the same.
_FIRST_PORT: Final = 20_000
_PORTS: Final = 12_000
# How many ports are tried when other programs hold some.
_PORT_TRIES: Final = 20
# `sumo` listens once it has loaded the net; traci's own client would sleep a second between two tries.
_CONNECT_RETRY_S: Final = 0.005
# Sent with every answer to a step.
_DEPARTED_ARRIVED: Final = (tc.VAR_DEPARTED_VEHICLES_IDS, tc.VAR_ARRIVED_VEHICLES_IDS)
_PERSONS_DEPARTED_ARRIVED: Final = (tc.VAR_DEPARTED_PERSONS_IDS, tc.VAR_ARRIVED_PERSONS_IDS)
# Of one vehicle or person: x, y and speed.
_MOTION: Final = (tc.VAR_POSITION, tc.VAR_SPEED)
# Writing the outputs of a large scenario takes seconds.
_LEAVE_TIMEOUT_S: Final = 120.0


class TraciEngine:
    """See Engine. Made before privileges are dropped: the namespace needs them. Raises EngineUnavailable."""

    def __init__(self) -> None:
        binary = open_binary()
        if binary is None:
            raise EngineUnavailable("the sumo binary is not installed")
        self._binary = binary
        self._port = _OWN_PORT if own_loopback() else _free_port()

    def start(self, arguments: Sequence[str]) -> Clock:
        """See Engine."""
        parent = os.getpid()
        try:
            self._sumo = subprocess.Popen(
                ["sumo", *arguments, "--remote-port", str(self._port)],
                executable=self._binary.program,
                env=os.environ | self._binary.environment,
                pass_fds=self._binary.descriptors,
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 one thread only
            )
        except OSError as error:
            raise EngineUnavailable(f"cannot start the sumo binary: {error.strerror}") from error
        # Its parts are made per connection and have no types.
        self._sim: Any = self._connect()
        with _words_of_sumo():
            self._signal_ids = self._sim.trafficlight.getIDList()
            self._vehicles = Present(self._sim.vehicle.getIDList())
            self._persons = Present(self._sim.person.getIDList())
            self._sim.simulation.subscribe((*_DEPARTED_ARRIVED, *_PERSONS_DEPARTED_ARRIVED))
            simulation, (_, version) = self._sim.simulation, self._sim.getVersion()
            return Clock(simulation.getTime(), simulation.getDeltaT(), version.removeprefix("SUMO "))

    def step_to(self, time_s: float) -> None:
        """See Engine."""
        with _words_of_sumo():
            self._sim.simulationStep(time_s)
            changes = self._sim.simulation.getSubscriptionResults()
        for present, (departed, arrived) in (
            (self._vehicles, _DEPARTED_ARRIVED),
            (self._persons, _PERSONS_DEPARTED_ARRIVED),
        ):
            present.update(departed=changes[departed], arrived=changes[arrived])

    def expected(self) -> int:
        """See Engine."""
        with _words_of_sumo():
            return int(self._sim.simulation.getMinExpectedNumber())

    def parameter(self, key: str) -> str:
        """See Engine."""
        with _words_of_sumo():
            return str(self._sim.simulation.getParameter("", key))

    def state(self) -> State:
        """See Engine."""
        with _words_of_sumo():
            vehicle_ids, person_ids = tuple(self._vehicles.ids), tuple(self._persons.ids)
            vehicles = self._sim.numbers(tc.CMD_GET_VEHICLE_VARIABLE, _MOTION, vehicle_ids)
            persons = self._sim.numbers(tc.CMD_GET_PERSON_VARIABLE, _MOTION, person_ids)
            lights = self._sim.trafficlight
            signals = [(s, lights.getRedYellowGreenState(s), lights.getPhase(s)) for s in self._signal_ids]
        return State(_moving(vehicle_ids, vehicles), _moving(person_ids, persons), signals)

    def angles(self, vehicle_ids: Sequence[str]) -> Sequence[float]:
        """See Engine."""
        with _words_of_sumo():
            numbers: list[float] = self._sim.numbers(tc.CMD_GET_VEHICLE_VARIABLE, (tc.VAR_ANGLE,), vehicle_ids)
        return numbers

    @property
    def api(self) -> Any:
        """See Engine."""
        return self._sim

    @property
    def refusal(self) -> type[Exception]:
        """See Engine."""
        refusal: type[Exception] = TraCIException
        return refusal

    @property
    def can_be_copied(self) -> bool:
        """See Engine."""
        return False

    def vehicle_ids(self) -> Sequence[str]:
        """See Engine."""
        return tuple(self._vehicles.ids)

    def forget_vehicles(self, vehicle_ids: Sequence[str]) -> None:
        """See Engine."""
        self._vehicles.update(departed=(), arrived=vehicle_ids)

    def save_state(self, path: str) -> None:
        """See Engine."""
        with _words_of_sumo():
            self._sim.simulation.saveState(path)

    def close(self) -> None:
        """See Engine."""
        with _words_of_sumo():
            self._sim.close(wait=False)
        try:
            code = self._sumo.wait(timeout=_LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            self._sumo.kill()
            raise EngineFailed("sumo did not write its outputs in time") from error
        if code != 0:
            raise EngineFailed(f"sumo ended with {code}")

    def _connect(self) -> BatchConnection:
        """The first connection that is accepted; loading may take as long as the worker lets it."""
        while True:
            try:
                return BatchConnection(_LOOPBACK, self._port, process=None, traceFile=None, traceGetters=False)
            except ConnectionRefusedError:
                if self._sumo.poll() is not None:
                    raise EngineFailed(f"sumo ended with {self._sumo.returncode} while loading") from None
            time.sleep(_CONNECT_RETRY_S)


def _moving(ids: Sequence[str], numbers: Sequence[float]) -> Moving:
    return Moving(ids, list(zip(numbers[0::3], numbers[1::3], strict=True)), numbers[2::3])


@contextmanager
def _words_of_sumo() -> Iterator[None]:
    try:
        yield
    except (TraCIException, FatalTraCIError) as error:
        raise EngineFailed(str(error)) from error


def _free_port() -> int:
    """A port nobody listens on now. Raises EngineUnavailable."""
    first = os.getpid() % _PORTS
    for offset in range(_PORT_TRIES):
        port = _FIRST_PORT + (first + offset * _PORTS // _PORT_TRIES) % _PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise EngineUnavailable("no free port for TraCI")
