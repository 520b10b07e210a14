"""Suspend: free a session's slot; nothing is lost."""

from dataclasses import dataclass

from milepost.event.v1.event_pb2 import CommandRequested, SuspendCommand
from milepost.session.v1.session_pb2 import Session, SessionState
from session_api.application.append_command import BY_WORKER, AppendCommand, Caller, Follow, claimed, done
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class SuspendSession:
    """A state that steps → SUSPENDED."""

    append: AppendCommand

    async def __call__(self, caller: Caller, session_id: str) -> Session:
        """The session, SUSPENDED; SUSPENDING when the caller's patience was over first.

        Raises as AppendCommand, and CallRefused(COMMAND_REJECTED) when it ended or could not be suspended.
        """
        command = CommandRequested(suspend=SuspendCommand())

        async def decide(log: LogSoFar) -> Follow:
            # The order of a waiting session stays: whoever pulls it finds the session suspended, and drops it.
            return BY_WORKER if claimed(log) else done(command)

        appended = await self.append(caller, session_id, command, decide)
        return await self.append.settled(caller, appended, until=_has_stopped)


def _has_stopped(session: Session) -> bool:
    return session.state != SessionState.SESSION_STATE_SUSPENDING
