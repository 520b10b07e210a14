"""Pace: how fast a session runs, and where it pauses."""

from dataclasses import dataclass

from milepost.event.v1.event_pb2 import CommandRequested, RunUntilCommand, SetPaceCommand, StepCommand
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import BY_WORKER, AppendCommand, Appended, Caller, Follow
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class PaceSession:
    """States that step; before it steps the command waits in the log."""

    append: AppendCommand

    async def set(self, caller: Caller, session_id: str, asked: SetPaceCommand) -> Session:
        """The session once it goes at that pace. Raises as AppendCommand, and CallRefused(COMMAND_REJECTED)."""
        return await self.append.settled(caller, await self._ask(caller, session_id, CommandRequested(set_pace=asked)))

    async def step(self, caller: Caller, session_id: str, asked: StepCommand) -> Session:
        """The session once it stands there. Raises as `set`."""
        return await self._run_and_stand(caller, session_id, CommandRequested(step=asked))

    async def run_until(self, caller: Caller, session_id: str, asked: RunUntilCommand) -> Session:
        """The session once it stands there. Raises as `set`."""
        return await self._run_and_stand(caller, session_id, CommandRequested(run_until=asked))

    async def _run_and_stand(self, caller: Caller, session_id: str, command: CommandRequested) -> Session:
        return await self.append.settled(caller, await self._ask(caller, session_id, command), until=_stands)

    async def _ask(self, caller: Caller, session_id: str, command: CommandRequested) -> Appended:
        async def decide(_: LogSoFar) -> Follow:
            return BY_WORKER

        return await self.append(caller, session_id, command, decide)


def _stands(session: Session) -> bool:
    """Whether it has paused again (applying the command let it go), or ended before."""
    return session.pace.paused or session.HasField("end_time")
