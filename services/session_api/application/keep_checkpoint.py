"""Checkpoints: make one, keep it, delete it."""

import hashlib
from dataclasses import dataclass

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import (
    CheckpointCommand,
    CheckpointDeleted,
    CheckpointPinned,
    CommandRequested,
    DeleteCheckpointCommand,
    PinCommand,
)
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import (
    BY_WORKER,
    AppendCommand,
    Appended,
    Caller,
    Follow,
    done,
    name_command,
)
from session_api.application.places import Places, find_checkpoint
from session_api.application.read_outcome import ReadOutcome, outcome_among
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class KeepCheckpoint:
    """Makes, pins and deletes."""

    append: AppendCommand
    places: Places
    read_outcome: ReadOutcome

    async def create(
        self, caller: Caller, session_id: str, asked: CheckpointCommand
    ) -> tuple[Checkpoint | None, Session]:
        """The checkpoint, None when the caller's patience was over first; and the session.

        Raises as AppendCommand, and CallRefused(COMMAND_REJECTED).
        """
        checkpoint_id, appended = await self._ask(caller, session_id, asked)
        session = await self.append.settled(caller, appended)
        for one in session.checkpoints:
            if one.checkpoint_id == checkpoint_id:
                made = Checkpoint()
                made.CopyFrom(one)
                return made, session
        return None, session

    async def make(self, caller: Caller, session_id: str, asked: CheckpointCommand, log: LogSoFar) -> str | None:
        """The id of a checkpoint that stands in the log, though the projection may not know; None as above.

        `log` is what the caller has just read. Raises as `create`.
        """
        checkpoint_id, appended = await self._ask(caller, session_id, asked, log)
        if appended.place is not None:
            read = await self.read_outcome(
                caller.tenant, session_id, appended.command_id, after=appended.place, timeout_s=caller.patience_s
            )
            settled = outcome_among(read, appended.command_id)
            if settled is None:
                return None
            if settled.HasField("command_applied"):
                return checkpoint_id
        # It was asked for before, or was rejected: the projection says it, and why.
        return checkpoint_id if await self.append.outcome(caller, appended) is not None else None

    async def _ask(
        self, caller: Caller, session_id: str, asked: CheckpointCommand, log: LogSoFar | None = None
    ) -> tuple[str, Appended]:
        command = CommandRequested(checkpoint=asked)
        name_command(command, caller)
        # From the command's id, so that a retry names the same.
        command.checkpoint.checkpoint_id = _checkpoint_id(command.command_id)

        async def decide(_: LogSoFar) -> Follow:
            return BY_WORKER

        return command.checkpoint.checkpoint_id, await self.append(caller, session_id, command, decide, log=log)

    async def pin(self, caller: Caller, session_id: str, checkpoint_id: str, *, pinned: bool) -> Session:
        """Keep it whatever the policy says, or no longer. Raises as AppendCommand, and CHECKPOINT_NOT_FOUND."""
        command = CommandRequested(pin=PinCommand(checkpoint_id=checkpoint_id, pinned=pinned))
        return await self._carry_out(
            caller, session_id, command, CheckpointPinned(checkpoint_id=checkpoint_id, pinned=pinned)
        )

    async def delete(self, caller: Caller, session_id: str, checkpoint_id: str) -> Session:
        """Delete it. Raises as AppendCommand, and CallRefused(CHECKPOINT_NOT_FOUND)."""
        command = CommandRequested(delete_checkpoint=DeleteCheckpointCommand(checkpoint_id=checkpoint_id))
        return await self._carry_out(caller, session_id, command, CheckpointDeleted(checkpoint_id=checkpoint_id))

    async def _carry_out(
        self,
        caller: Caller,
        session_id: str,
        command: CommandRequested,
        payload: CheckpointPinned | CheckpointDeleted,
    ) -> Session:
        async def decide(log: LogSoFar) -> Follow:
            await self._require(caller.tenant, session_id, log, payload.checkpoint_id)
            return done(command, payload)

        return await self.append.session(caller, await self.append(caller, session_id, command, decide))

    async def _require(self, tenant: str, session_id: str, log: LogSoFar, checkpoint_id: str) -> None:
        """The projection knows nearly always; a whole past is read only before a refusal."""
        session = await self.append.sessions.get(tenant, session_id)
        if session is not None and any(one.checkpoint_id == checkpoint_id for one in session.checkpoints):
            return
        find_checkpoint((await self.places.past(tenant, session_id, log)).checkpoints, checkpoint_id)


def _checkpoint_id(command_id: str) -> str:
    return "cp-" + hashlib.sha256(command_id.encode()).hexdigest()[:12]
