"""Places a session can go back to, or be forked at: a checkpoint, a simulated time, where its log ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import ForkPast, JournalEntry
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import CompletionReason
from runtime.blobs import Blobs
from session_api.application.refusals import checkpoint_not_found, time_not_reached
from session_log.past import Past
from session_log.planned import planned_before, planned_up_to
from session_log.reader import LogReader, LogSoFar

# A past of a million interventions; far more than a log takes.
PAST_MAX_BYTES = 64 * 1024 * 1024
# How far above a step boundary a time may lie and still mean it, steps: far less than a millisecond, far more than
# what floating point makes of it.
_STEP_TOLERANCE = 1e-6
_TERMINATED = CompletionReason.COMPLETION_REASON_TERMINATED


@dataclass(frozen=True, slots=True)
class Place:
    """A step of a run."""

    past: Past
    """Of the run it is in."""
    step: int
    sim_time_s: float
    journal_length: int
    """Interventions that were applied before it, over the whole past."""
    planned_length: int
    """Planned interventions that were applied before it."""
    checkpoint_id: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Finds places in a session's past."""

    reader: LogReader
    blobs: Blobs

    async def past(self, tenant: str, session_id: str, log: LogSoFar, *, run: int = 0) -> Past:
        """The past of a run; 0: the latest. Raises ValueError for an unknown run."""
        origin = await self.origin(log)
        return await self.reader.read_past(tenant, session_id, run=run, origin=origin)

    async def origin(self, log: LogSoFar) -> ForkPast:
        """What a forked session brought along; empty for others."""
        if log.created.HasField("fork_past"):
            return log.created.fork_past
        sha256 = log.created.forked_from.past_sha256
        if not sha256:
            return ForkPast()
        return ForkPast.FromString(await self.blobs.get_bytes(sha256, limit_bytes=PAST_MAX_BYTES))

    async def checkpoint(self, tenant: str, session_id: str, log: LogSoFar, checkpoint_id: str) -> Place:
        """A checkpoint of any run. Raises CallRefused(CHECKPOINT_NOT_FOUND)."""
        past = await self.past(tenant, session_id, log)
        found = find_checkpoint(past.checkpoints, checkpoint_id)
        if found.run != past.run:
            past = await self.past(tenant, session_id, log, run=found.run)
        return Place(past, found.step, found.sim_time_s, found.journal_length, found.planned_length, checkpoint_id)

    async def at_time(self, tenant: str, session_id: str, log: LogSoFar, sim_time_s: float) -> Place:
        """The first step boundary at or after a time, in the latest run. Raises CallRefused(TIME_NOT_REACHED)."""
        past = await self.past(tenant, session_id, log)
        step = step_at(past.scene, sim_time_s)
        if step > past.head_step:
            raise time_not_reached(sim_time_s, time_at(past.scene, past.head_step))
        return Place(
            past,
            step,
            time_at(past.scene, step),
            journal_length_at(past.journal, step),
            _planned_length(past, step),
        )

    async def end(self, tenant: str, session_id: str, log: LogSoFar) -> Place:
        """Where the latest run stands."""
        return self.head(await self.past(tenant, session_id, log))

    def head(self, past: Past) -> Place:
        """Where a run stands."""
        step = past.head_step
        return Place(past, step, time_at(past.scene, step), len(past.journal), _planned_length(past, step))


def _planned_length(past: Past, step: int) -> int:
    """What was planned for the step itself belongs to a place there, unless the run has ended before applying it."""
    completed = past.completed
    if completed is not None and completed.step == step and completed.session_completed.results.reason != _TERMINATED:
        return planned_before(past.spec, past.scene, step)
    return planned_up_to(past.spec, past.scene, step)


def find_checkpoint(checkpoints: Sequence[Checkpoint], checkpoint_id: str) -> Checkpoint:
    """The checkpoint of that id. Raises CallRefused(CHECKPOINT_NOT_FOUND)."""
    for checkpoint in checkpoints:
        if checkpoint.checkpoint_id == checkpoint_id:
            return checkpoint
    raise checkpoint_not_found(checkpoint_id)


def step_at(scene: Scene, sim_time_s: float) -> int:
    """The first step boundary at or after a time."""
    return max(0, math.ceil((sim_time_s - scene.begin_time_s) / scene.step_length_s - _STEP_TOLERANCE))


def time_at(scene: Scene, step: int) -> float:
    """Simulated time at a step, s. SUMO counts whole milliseconds."""
    return round(scene.begin_time_s + step * scene.step_length_s, 3)


def journal_length_at(journal: Sequence[JournalEntry], step: int) -> int:
    """How many interventions were applied up to a step, those of the step itself included."""
    return sum(entry.step <= step for entry in journal)
