"""Simulate a session again, beside it: its state at a past time, or the proof that it comes out equal."""

from collections import OrderedDict
from dataclasses import dataclass, field

import zstandard

from milepost.dispatch.v1.dispatch_pb2 import ReplayAnswer, ReplayRequest, RunVerified, VerifyRun
from milepost.errors.v1 import errors_pb2
from milepost.state.v1.state_pb2 import SimulationState
from runtime.errors import CallRefused
from session_api.application.append_command import AppendCommand, Caller
from session_api.application.places import Places, step_at, time_at
from session_api.application.refusals import field_invalid, no_worker, time_not_reached
from session_api.gateways.replays import Replays
from session_log.past import Past
from session_log.reader import LogSoFar

# How long a question may take when the client set no deadline, seconds: a replay of a day of a city.
DEFAULT_WAIT_S = 600.0
# Memory for answers that may be asked for again, bytes, compressed.
REMEMBERED_BYTES = 64 * 1024 * 1024
# Largest state taken from a worker, inflated, bytes: a million vehicles.
_STATE_MAX_BYTES = 256 * 1024 * 1024

Key = tuple[str, str, int, int]


@dataclass(slots=True)
class _Answers:
    """The answers asked for last, compressed, by (tenant, session, run, step): what was simulated never changes."""

    _kept: OrderedDict[Key, bytes] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, key: Key) -> bytes | None:
        """An answer, if it is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, answer: bytes) -> None:
        """Keep an answer; those not asked for longest go."""
        self._bytes += len(answer) - len(self._kept.pop(key, b""))
        self._kept[key] = answer
        while self._bytes > REMEMBERED_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1])


@dataclass(frozen=True, slots=True)
class ReplaySession:
    """No effect on the session."""

    append: AppendCommand
    places: Places
    replays: Replays
    _answers: _Answers = field(default_factory=_Answers)

    async def state(
        self, caller: Caller, session_id: str, *, sim_time_s: float | None, run: int
    ) -> tuple[SimulationState, bool]:
        """The state at a time that was reached (None: the latest interval), and whether it was remembered.

        Raises CallRefused: SESSION_NOT_FOUND, FIELD_INVALID, TIME_NOT_REACHED, NO_WORKER, REPLAY_FAILED.
        """
        if sim_time_s is not None and (known := await self._known(caller.tenant, session_id, sim_time_s, run)):
            return _state(known), True
        log, past = await self._past(caller.tenant, session_id, run)
        step = _last_interval(past) if sim_time_s is None else step_at(past.scene, sim_time_s)
        if sim_time_s is not None and step > past.head_step:
            raise time_not_reached(sim_time_s, time_at(past.scene, past.head_step))
        key = (caller.tenant, session_id, past.run, step)
        if (known := self._answers.get(key)) is not None:
            return _state(known), True
        request = ReplayRequest(tenant=caller.tenant, session_id=session_id, run=past.run, state_at_step=step)
        answer = await self._ask(caller, log, request)
        self._answers.put(key, answer.state_zstd)
        return _state(answer.state_zstd), False

    async def _known(self, tenant: str, session_id: str, sim_time_s: float, run: int) -> bytes | None:
        """A remembered answer, found without reading the whole past."""
        session = await self.append.sessions.get(tenant, session_id)
        if session is None or run not in (0, session.run):
            return None
        step = step_at(session.scene, sim_time_s)
        # What a rollback left behind is not reached any more.
        reached = step <= session.progress.step
        return self._answers.get((tenant, session_id, session.run, step)) if reached else None

    async def verify(self, caller: Caller, session_id: str, *, run: int) -> RunVerified:
        """The verdict. Raises CallRefused: SESSION_NOT_FOUND, FIELD_INVALID, NO_WORKER, REPLAY_FAILED."""
        log, past = await self._past(caller.tenant, session_id, run)
        request = ReplayRequest(tenant=caller.tenant, session_id=session_id, run=past.run, verify=VerifyRun())
        return (await self._ask(caller, log, request)).verified

    async def _past(self, tenant: str, session_id: str, run: int) -> tuple[LogSoFar, Past]:
        log = await self.append.read(tenant, session_id)
        if 0 < run < log.first_run:
            raise field_invalid("run", f"is not kept any more; the first that is: {log.first_run}")
        try:
            return log, await self.places.past(tenant, session_id, log, run=run)
        except ValueError as unknown:
            raise field_invalid("run", f"is none of the runs 1 to {log.life.run}") from unknown

    async def _ask(self, caller: Caller, log: LogSoFar, request: ReplayRequest) -> ReplayAnswer:
        wait_s = DEFAULT_WAIT_S if caller.wait_s is None else caller.wait_s
        answer = await self.replays.ask(log.created.pool, request, timeout_s=wait_s)
        if answer is None:
            raise no_worker(f"no worker of pool {log.created.pool} answered in time")
        if answer.HasField("failed"):
            raise CallRefused(errors_pb2.ERROR_REASON_REPLAY_FAILED, answer.failed)
        return answer


def _last_interval(past: Past) -> int:
    return max((event.step for event in past.recorded if event.HasField("interval_closed")), default=past.begin_step)


def _state(compressed: bytes) -> SimulationState:
    return SimulationState.FromString(
        zstandard.ZstdDecompressor().decompress(compressed, max_output_size=_STATE_MAX_BYTES)
    )
