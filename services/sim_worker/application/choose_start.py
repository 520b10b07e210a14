"""What an attempt begins from: a sleeping copy, a state file, or the origin (determinism.md)."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import grpc
import structlog

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, RecoveryPolicy
from milepost.event.v1.event_pb2 import StartKind, StartRejected
from runtime.blobs import BlobCorrupt, BlobMissing, Blobs
from session_log.codec import record
from session_log.past import Past
from sim_worker.application.lingering import Lingering
from sim_worker.application.prepare_scene import PrepareScene
from sim_worker.application.session import Session, Start
from sim_worker.application.snapshots import Snapshots
from sim_worker.application.write_state import state_file_name
from sim_worker.gateways.zygote import Zygote

log = structlog.get_logger()
_RETRY_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class ChooseStart:
    """Tries the candidates in order; what cannot be used is told as StartRejected."""

    snapshots: Snapshots
    lingering: Lingering
    prepare_scene: PrepareScene
    blobs: Blobs
    zygote: Zygote

    async def __call__(self, session: Session, rejected: Collection[str]) -> Start:
        """The next start that was not rejected. Raises SceneFailed, Fenced."""
        if (copy := self._own_copy(session, rejected) or self._parents_copy(session, rejected)) is not None:
            return copy
        for made in self._files(session):
            start = Start(StartKind.START_KIND_STATE_FILE, made.step, checkpoint=made)
            if start.name not in rejected and await self._load(session, made):
                return start
        await self.lay_out(session)
        return Start()

    async def reject(self, session: Session, start: Start, reason: str, message: str = "") -> None:
        """Say that a start could not be used. Raises Fenced."""
        payload = StartRejected(start=start.kind, step=start.step, reason=reason, message=message)
        await session.attempt.append([record(payload, step=start.step)])

    def _own_copy(self, session: Session, rejected: Collection[str]) -> Start | None:
        kept = self.snapshots.best(session.key, session.past, upto_step=session.past.head_step)
        if kept is None:
            return None
        return _unless(rejected, Start(StartKind.START_KIND_MEMORY_SNAPSHOT, kept.step, kept))

    def _parents_copy(self, session: Session, rejected: Collection[str]) -> Start | None:
        """For a fork: a copy of its parent, when this worker has one."""
        past = session.past
        origin = past.created.forked_from
        if not past.created.HasField("forked_from") or past.run != 1:
            return None
        key = (session.key[0], origin.session_id)
        fork = session.fork_past
        place = {"journal_length": len(fork.journal), "planned_length": fork.planned_length}
        kept = self.lingering.find(key, run=origin.run, step=origin.step, **place)
        lingers = kept is not None
        kept = kept or self.snapshots.of_run(key, run=origin.run, upto_step=origin.step, **place)
        if kept is None:
            return None
        for folder in ("scene", "outputs"):
            (session.directory / folder).mkdir(parents=True, exist_ok=True)
        kind = StartKind.START_KIND_MEMORY_SNAPSHOT
        return _unless(rejected, Start(kind, kept.step, kept, parent=key, lingers=lingers))

    def _files(self, session: Session) -> list[Checkpoint]:
        """The checkpoints whose state files may be begun from, newest first."""
        past = session.past
        match past.spec.recovery:
            case RecoveryPolicy.RECOVERY_POLICY_FAST:
                return [made for made in reversed(past.checkpoints) if _fits(past, made)]
            case RecoveryPolicy.RECOVERY_POLICY_REBASE:
                return list(reversed(kept_rebased(past)))
            case _:
                return []

    async def _load(self, session: Session, made: Checkpoint) -> bool:
        """Put the state file into the session's directory; False, and said so, when it cannot be used."""
        start, ready = Start(StartKind.START_KIND_STATE_FILE, made.step, checkpoint=made), self.zygote.ready
        wanted = (made.state_file.sumo_version, made.state_file.libm_fingerprint)
        if wanted[0] != ready.sumo_version or wanted[1] != ready.libm_fingerprint:
            await self.reject(
                session, start, "OTHER_BUILD", f"written by SUMO {wanted[0]}, this is {ready.sumo_version}"
            )
            return False
        await self.lay_out(session)
        path = session.directory / state_file_name(made)
        while True:
            try:
                await self.blobs.get_file(made.state_file.sha256, path)
                return True
            except BlobMissing:
                await self.reject(session, start, "MISSING", "the store has lost the state file")
                return False
            except BlobCorrupt:
                await self.reject(session, start, "CORRUPT", "the state file is not what was written")
                return False
            except grpc.aio.AioRpcError as error:
                log.warning("state file waits for the store", status=error.code().name)
                await asyncio.sleep(_RETRY_WAIT_S)

    async def lay_out(self, session: Session) -> None:
        """The scene, in the session's directory. Raises SceneFailed."""
        session.scene = await self.prepare_scene(session.past.spec, session.past.scene, session.directory)


def kept_rebased(past: Past) -> list[Checkpoint]:
    """The rebased checkpoints of a past whose state files are kept still, in order."""
    origin = past.created.forked_from.state_sha256
    there = {made.checkpoint_id for made in past.checkpoints}
    return [made for made in past.rebased if made.checkpoint_id in there or made.state_file.sha256 == origin]


def _fits(past: Past, made: Checkpoint) -> bool:
    return (
        made.HasField("state_file")
        and made.step <= past.head_step
        and past.holds(run=made.run, step=made.step, journal_length=made.journal_length)
    )


def _unless(rejected: Collection[str], start: Start) -> Start | None:
    return None if start.name in rejected else start
