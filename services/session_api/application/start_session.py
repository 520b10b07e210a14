"""Start: queue a session that was created with `create_only`."""

from dataclasses import dataclass

from milepost.event.v1.event_pb2 import CommandRequested, StartCommand
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import AppendCommand, Caller, Follow, done
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class StartSession:
    """CREATED → PENDING."""

    append: AppendCommand

    async def __call__(self, caller: Caller, session_id: str) -> Session:
        """The session, PENDING. Raises as AppendCommand."""
        command = CommandRequested(start=StartCommand())

        async def decide(_: LogSoFar) -> Follow:
            return done(command, order=True)

        return await self.append.session(caller, await self.append(caller, session_id, command, decide))
