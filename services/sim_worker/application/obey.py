"""Carry out what the log asks of a running session, in order (log.md R18).

What changes the simulation goes to the child, which applies it at a step boundary and says at which; what ends
or moves the session is decided here.
"""

import asyncio
import math

from google.protobuf.message import Message

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointCause
from milepost.child.v1.child_pb2 import ChildCommand, Stop, ToChild
from milepost.event.v1.event_pb2 import (
    CommandApplied,
    CommandRejected,
    CommandRequested,
    RunCause,
    RunOpened,
    SessionCancelled,
)
from session_log.codec import record
from sim_worker.application.make_checkpoints import MakeCheckpoints
from sim_worker.application.outbox import Outbox
from sim_worker.application.outcomes import Ended, Outcome, RolledBack, Suspended
from sim_worker.application.session import Session
from sim_worker.gateways.child_process import Child, ChildGone, ChildRefused


class Obey:
    """One child's commands. `decided` holds how it came out when a command ended it."""

    def __init__(self, session: Session, child: Child, outbox: Outbox, checkpoints: MakeCheckpoints) -> None:
        self.decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._session = session
        self._child = child
        self._outbox = outbox
        self._checkpoints = checkpoints

    async def __call__(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                command = await self._session.attempt.commands.get()
                match command.WhichOneof("verb"):
                    case "cancel":
                        self.decide(Ended(SessionCancelled(command_id=command.command_id), *self._checkpoints.place))
                    case "suspend":
                        self.decide(Suspended(command.command_id))
                    case "rollback":
                        self._roll_back(command)
                    case "terminate":
                        tasks.create_task(self._terminate(), name="terminate")
                    case "checkpoint":
                        tasks.create_task(self._checkpoint(command), name="checkpoint")
                    case verb:
                        if verb == "intervene":
                            await self._checkpoints.before_intervention()
                        if (for_child := child_command(command)) is not None:
                            await self._child.command(for_child)
                        else:
                            self._reject(command, f"a worker cannot {verb}")

    def decide(self, outcome: Outcome) -> None:
        """How it comes out; the first counts."""
        if not self.decided.done():
            self.decided.set_result(outcome)

    async def _terminate(self) -> None:
        """At the next boundary, but not before what the log holds has been simulated again: results follow it."""
        await self._checkpoints.caught_up.wait()
        await self._child.send(ToChild(stop=Stop()))

    async def _checkpoint(self, command: CommandRequested) -> None:
        asked = command.checkpoint
        await self._checkpoints.caught_up.wait()
        try:
            await self._checkpoints.make(
                CheckpointCause.CHECKPOINT_CAUSE_REQUEST,
                checkpoint_id=asked.checkpoint_id,
                name=asked.name,
                pinned=asked.pinned,
                state_file=asked.state_file,
            )
        except (ChildRefused, ChildGone) as error:
            self._reject(command, str(error))
        else:
            self._say(CommandApplied(command_id=command.command_id))

    def _roll_back(self, command: CommandRequested) -> None:
        past, opened = self._session.past, RunOpened(because=RunCause.RUN_CAUSE_ROLLBACK)
        if command.rollback.HasField("checkpoint_id"):
            made = self._checkpoints.find(command.rollback.checkpoint_id)
            if made is None:
                self._reject(command, f"no checkpoint {command.rollback.checkpoint_id!r}", "checkpoint_id")
                return
            opened.base_run, opened.step, opened.checkpoint_id = made.run, made.step, made.checkpoint_id
            opened.sim_time_s, opened.journal_length = made.sim_time_s, made.journal_length
        else:
            scene, time_s = past.scene, command.rollback.sim_time_s
            step = max(0, math.ceil((time_s - scene.begin_time_s) / scene.step_length_s - 1e-9))
            if step > self._checkpoints.place[0]:
                self._reject(command, f"{time_s} s is not reached yet", "sim_time_s")
                return
            opened.base_run, opened.step = past.run, step
            opened.sim_time_s = scene.begin_time_s + step * scene.step_length_s
            opened.journal_length = self._checkpoints.journal_length(step)
        opened.run = past.run + 1
        opened.spec.CopyFrom(past.spec)
        opened.scene.CopyFrom(past.scene)
        self.decide(RolledBack(command.command_id, opened))

    def _reject(self, command: CommandRequested, message: str, field: str = "") -> None:
        self._say(CommandRejected(command_id=command.command_id, message=message, field=field))

    def _say(self, payload: Message) -> None:
        step, sim_time_s = self._checkpoints.place
        self._outbox.put(record(payload, step=step, sim_time_s=sim_time_s))


def child_command(command: CommandRequested) -> ChildCommand | None:
    """What is for the child to carry out, at a step boundary; None for everything else."""
    name = command.command_id
    match command.WhichOneof("verb"):
        case "intervene":
            return ChildCommand(command_id=name, intervention=command.intervene)
        case "set_pace":
            return ChildCommand(command_id=name, set_pace=command.set_pace)
        case "step":
            return ChildCommand(command_id=name, step=command.step)
        case "run_until":
            return ChildCommand(command_id=name, run_until=command.run_until)
        case _:
            return None
