"""Make checkpoints: when asked, on schedule, at milestones, before interventions — and copies for survival.

A checkpoint counts when `CheckpointCommitted` is in the log (determinism.md). Under EXACT it is a place; the
sleeping copy beside it makes going back quick and is never needed.
"""

import asyncio
import contextlib
import time
import uuid
from datetime import UTC, datetime
from typing import Final

import structlog

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointCause
from milepost.child.v1.child_pb2 import Interval, SnapshotPlace
from milepost.event.v1.event_pb2 import (
    CheckpointCommitted,
    CheckpointDeleted,
    CheckpointFailed,
    CheckpointStarted,
    ResourceUsed,
)
from milepost.session.v1.session_pb2 import Engine, ResourceUsage
from runtime.blobs import Blobs
from session_log.codec import record
from session_log.planned import planned_up_to
from sim_worker.application.outbox import Outbox
from sim_worker.application.schedule import copy_every_steps, no_longer_kept, rebase_every_steps
from sim_worker.application.session import Session
from sim_worker.application.snapshots import Kept, Snapshots
from sim_worker.application.write_state import WriteState, state_file_name
from sim_worker.gateways.child_process import Child, ChildGone, ChildRefused
from sim_worker.gateways.machine import tree_bytes
from sim_worker.gateways.snapshot import Snapshot

log = structlog.get_logger()

# A copy for survival: the first soon, then one every so many seconds of wall time while the simulation moves.
FIRST_COPY_S: Final = 3.0
COPY_PERIOD_S: Final = 10.0
# At most one automatic checkpoint before interventions in so many seconds: a client may intervene at every step.
INTERVENTION_PERIOD_S: Final = 5.0
# How often ResourceUsed is told, seconds.
USAGE_PERIOD_S: Final = 30.0
# How often a state that is to be gone on from is tried to be written.
REBASE_TRIES: Final = 3
_TICK_S: Final = 0.5


class MakeCheckpoints:
    """The checkpoints of one child, and where it stands."""

    def __init__(
        self,
        session: Session,
        child: Child,
        outbox: Outbox,
        *,
        snapshots: Snapshots,
        blobs: Blobs,
        libm_fingerprint: str,
    ) -> None:
        self.caught_up = asyncio.Event()
        """Set once everything the log holds has been simulated again."""
        self.place = (0, session.past.scene.begin_time_s)
        """Steps and simulated time that were last heard of."""
        self._session = session
        self._child = child
        self._outbox = outbox
        self._snapshots = snapshots
        self._writer = WriteState(session, child, blobs, libm_fingerprint)
        self._policy = session.past.spec.checkpoints
        self._copies = session.past.spec.engine != Engine.ENGINE_TRACI
        self._checkpoints = {made.checkpoint_id: made for made in session.past.checkpoints}
        self._journal = [entry.step for entry in session.past.journal]
        self._interventions = {entry.command_id for entry in session.past.journal}
        self._due: asyncio.Queue[CheckpointCause.ValueType] = asyncio.Queue()
        self._next_sim_s: float | None = None
        self._copied_step = 0
        self._intervened_at = 0.0

    def at(self, step: int, sim_time_s: float) -> None:
        """The child is there."""
        self.place = (step, sim_time_s)
        if step >= self._session.past.head_step:
            self.caught_up.set()

    def closed(self, interval: Interval) -> None:
        """An interval: a checkpoint may be due by simulated time."""
        every = self._policy.every_sim_s
        if not every or copy_every_steps(self._session.past) or rebase_every_steps(self._session.past):
            return
        begin_s = self._session.past.scene.begin_time_s
        due = begin_s + ((interval.sim_time_s - begin_s) // every + 1) * every
        if self._next_sim_s is not None and due > self._next_sim_s and self.caught_up.is_set():
            self._due.put_nowait(CheckpointCause.CHECKPOINT_CAUSE_SCHEDULE)
        self._next_sim_s = due

    def milestone(self) -> None:
        """A milestone was reached."""
        if self._policy.at_milestones and self.caught_up.is_set():
            self._due.put_nowait(CheckpointCause.CHECKPOINT_CAUSE_MILESTONE)

    def applied(self, command_id: str, step: int) -> None:
        """A command was applied; interventions make the journal longer."""
        request = self._session.attempt.request_of(command_id)
        if request is not None and request.HasField("intervene") and command_id not in self._interventions:
            self._interventions.add(command_id)
            self._journal.append(step)

    def journal_length(self, step: int) -> int:
        """Interventions applied up to a step."""
        return sum(applied <= step for applied in self._journal)

    def find(self, checkpoint_id: str) -> Checkpoint | None:
        """A checkpoint that stands."""
        if checkpoint_id in self._session.attempt.deleted_checkpoints:
            return None
        return self._checkpoints.get(checkpoint_id)

    async def before_intervention(self) -> None:
        """The automatic checkpoint; one that cannot be made does not keep the intervention waiting."""
        now = time.monotonic()
        if not self._copies or not self.caught_up.is_set() or now - self._intervened_at < INTERVENTION_PERIOD_S:
            return
        self._intervened_at = now
        with contextlib.suppress(ChildRefused, ChildGone):
            await self.make(CheckpointCause.CHECKPOINT_CAUSE_INTERVENTION)

    async def make(
        self,
        cause: CheckpointCause.ValueType,
        *,
        checkpoint_id: str = "",
        name: str = "",
        pinned: bool = False,
        state_file: bool = False,
    ) -> Checkpoint:
        """Make one at the next boundary. Raises ChildRefused, ChildGone."""
        made = self._begun(cause, checkpoint_id)
        made.name, made.pinned = name, pinned
        # What an intervention waits for is a copy, never the store.
        always = self._policy.state_files and cause != CheckpointCause.CHECKPOINT_CAUSE_INTERVENTION
        if state_file or always:
            self._put(CheckpointStarted(checkpoint_id=made.checkpoint_id))
            place = await self._write_state(made)
            (self._session.directory / state_file_name(made)).unlink()
        elif self._copies:
            place = await self._copy(made.checkpoint_id)
        else:
            place = await self._describe()
        return self._commit(made, place)

    async def rebase(self, step: int) -> Checkpoint:
        """The checkpoint it goes on from, its state file in the session's directory; not in the log yet.

        A copy stays behind, which goes on when the file does not load. Raises ChildRefused, ChildGone.
        """
        for left in reversed(range(REBASE_TRIES)):
            try:
                return await self._rebase(step)
            except ChildRefused as refused:
                # Whoever wrote may have been killed, which says nothing about the state.
                if not left:
                    self._put(CheckpointFailed(message=f"not rebased at step {step}: {refused}"))
                    raise
        raise AssertionError

    async def _rebase(self, step: int) -> Checkpoint:
        await self._copy("")
        known = next((made for made in self._session.past.rebased if made.step == step), None)
        made = known or self._begun(CheckpointCause.CHECKPOINT_CAUSE_SCHEDULE)
        place = await self._writer(made, known=known is not None)
        if known is None:
            made.state_file.rebased = True
            self._fill(made, place)
        return made

    def rebased(self, made: Checkpoint) -> None:
        """The file was loaded: from now on it counts, and the copies from before it are of no use."""
        self._snapshots.drop(self._session.key)
        if all(known.step != made.step for known in self._session.past.rebased):
            self._put_committed(made)

    async def scheduled(self) -> None:
        """Commit what the child copies unasked, until cancelled."""
        while True:
            snapshot = await self._child.scheduled.get()
            made = self._begun(CheckpointCause.CHECKPOINT_CAUSE_SCHEDULE)
            self._keep(snapshot, made.checkpoint_id)
            self._commit(made, snapshot.place)

    def _begun(self, cause: CheckpointCause.ValueType, checkpoint_id: str = "") -> Checkpoint:
        return Checkpoint(
            checkpoint_id=checkpoint_id or f"cp-{uuid.uuid4().hex[:12]}",
            run=self._session.past.run,
            cause=cause,
            attempt=self._session.attempt.attempt,
        )

    def _commit(self, made: Checkpoint, place: SnapshotPlace) -> Checkpoint:
        self._fill(made, place)
        self._put_committed(made)
        return made

    def _fill(self, made: Checkpoint, place: SnapshotPlace) -> None:
        made.step, made.sim_time_s = place.step, place.sim_time_s
        made.journal_length, made.planned_length = place.journal_length, place.planned_length
        made.state_digest = place.state_digest
        made.kpis.CopyFrom(place.kpis)
        made.create_time.FromDatetime(datetime.now(UTC))

    def _put_committed(self, made: Checkpoint) -> None:
        self._checkpoints[made.checkpoint_id] = made
        self._outbox.put(record(CheckpointCommitted(checkpoint=made), step=made.step, sim_time_s=made.sim_time_s))
        self._forget_old()

    async def on_time(self) -> None:
        """Schedule, survival copies and usage, until cancelled."""
        copied = used = checkpointed = time.monotonic()
        copy_after_s = FIRST_COPY_S
        while True:
            cause = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    cause = await self._due.get()
            now = time.monotonic()
            if not self.caught_up.is_set():
                copied = checkpointed = now
                continue
            if self._policy.every_wall_s and now - checkpointed >= self._policy.every_wall_s:
                cause = CheckpointCause.CHECKPOINT_CAUSE_SCHEDULE
            try:
                if cause is not None:
                    checkpointed = now
                    await self.make(cause)
                elif self._copies and now - copied >= copy_after_s and self.place[0] > self._copied_step:
                    copied, copy_after_s = now, COPY_PERIOD_S
                    await self._copy("")
            except ChildGone:
                return
            except ChildRefused as error:
                log.warning("no checkpoint", session=self._session.key[1], reason=str(error))
            if now - used >= USAGE_PERIOD_S:
                used = now
                await self._tell_usage()

    async def _copy(self, checkpoint_id: str) -> SnapshotPlace:
        snapshot = await self._child.take_snapshot(checkpoint_id or f"copy-{uuid.uuid4().hex[:12]}")
        self._keep(snapshot, checkpoint_id)
        return snapshot.place

    def _keep(self, snapshot: Snapshot, checkpoint_id: str) -> None:
        assert self._session.started is not None
        self._copied_step = snapshot.place.step
        kept = Kept(self._session.past.run, snapshot, self._session.started, checkpoint_id)
        self._snapshots.keep(self._session.key, kept)

    async def _describe(self) -> SnapshotPlace:
        state = await self._child.describe()
        place = SnapshotPlace(step=state.step, sim_time_s=state.sim_time_s, state_digest=state.state_digest)
        place.kpis.CopyFrom(state.kpis)
        place.journal_length = len(self._journal)
        place.planned_length = planned_up_to(self._session.past.spec, self._session.past.scene, state.step)
        return place

    async def _write_state(self, made: Checkpoint) -> SnapshotPlace:
        try:
            return await self._writer(made)
        except ChildRefused as error:
            self._put(CheckpointFailed(checkpoint_id=made.checkpoint_id, message=str(error)))
            raise

    def _forget_old(self) -> None:
        """What the policy no longer keeps."""
        pins = self._session.attempt.pins
        for checkpoint_id in self._session.attempt.deleted_checkpoints & self._checkpoints.keys():
            del self._checkpoints[checkpoint_id]
        loose = [made for made in self._checkpoints.values() if not pins.get(made.checkpoint_id, made.pinned)]
        gone = no_longer_kept(loose, self._policy, datetime.now(UTC))
        for made in gone:
            del self._checkpoints[made.checkpoint_id]
            self._put(CheckpointDeleted(checkpoint_id=made.checkpoint_id))
        self._snapshots.drop_checkpoints(self._session.key, (made.checkpoint_id for made in gone))

    async def _tell_usage(self) -> None:
        usage = ResourceUsage(
            cpu_s=self._child.cpu_s(),
            memory_bytes=await asyncio.to_thread(self._child.memory_bytes),
            disk_bytes=await asyncio.to_thread(tree_bytes, self._session.directory),
            snapshots=self._snapshots.count(self._session.key),
        )
        self._put(ResourceUsed(usage=usage))

    def _put(self, payload: "CheckpointStarted | CheckpointFailed | CheckpointDeleted | ResourceUsed") -> None:
        step, sim_time_s = self.place
        self._outbox.put(record(payload, step=step, sim_time_s=sim_time_s))
