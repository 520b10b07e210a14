"""Roll back: go on from an earlier place, as a new run."""

from dataclasses import dataclass

from milepost.event.v1.event_pb2 import CommandRequested, RollbackCommand, RunCause
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import BY_WORKER, AppendCommand, Caller, Follow, claimed, done
from session_api.application.places import Place, Places
from session_api.application.task import open_run
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class RollbackSession:
    """RUNNING, SUSPENDED or an end → a new run."""

    append: AppendCommand
    places: Places

    async def __call__(self, caller: Caller, session_id: str, to: RollbackCommand) -> Session:
        """The session in its new run; in the old one when the caller's patience was over first.

        Raises as AppendCommand, and CallRefused: CHECKPOINT_NOT_FOUND, TIME_NOT_REACHED, FIELD_INVALID,
        COMMAND_REJECTED.
        """
        command = CommandRequested(rollback=to)
        run = 0

        async def decide(log: LogSoFar) -> Follow:
            nonlocal run
            run = log.life.run
            place = await self._place(caller.tenant, session_id, log, to)
            if claimed(log):
                return BY_WORKER
            opened = open_run(log, RunCause.RUN_CAUSE_ROLLBACK, place)
            return done(command, opened, run=opened.run, order=True)

        appended = await self.append(caller, session_id, command, decide)
        return await self.append.settled(
            caller, appended, until=lambda session: session.run > run or session.HasField("end_time")
        )

    async def _place(self, tenant: str, session_id: str, log: LogSoFar, to: RollbackCommand) -> Place:
        if to.HasField("checkpoint_id"):
            return await self.places.checkpoint(tenant, session_id, log, to.checkpoint_id)
        return await self.places.at_time(tenant, session_id, log, to.sim_time_s)
