"""Delete and undelete: a session is hidden at once and goes for good after the undelete window."""

from dataclasses import dataclass
from datetime import timedelta

from milepost.event.v1.event_pb2 import (
    CommandRequested,
    DeleteCommand,
    SessionDeleted,
    SessionUndeleted,
    UndeleteCommand,
)
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import AppendCommand, Caller, Follow, done
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class DeleteSession:
    """Hides a session, or shows it again."""

    append: AppendCommand
    undelete_window: timedelta

    async def __call__(self, caller: Caller, session_id: str) -> Session:
        """The session, with the time it goes for good. Raises as AppendCommand."""
        command = CommandRequested(delete=DeleteCommand())

        async def decide(_: LogSoFar) -> Follow:
            return done(command, self._deleted())

        return await self.append.session(caller, await self.append(caller, session_id, command, decide))

    async def if_still(self, caller: Caller, session_id: str, *, seq: int) -> bool:
        """Delete only if the log still ends at `seq`; whether it did. Raises as AppendCommand."""
        command = CommandRequested(delete=DeleteCommand(), comment="ended long enough ago")

        async def decide(log: LogSoFar) -> Follow:
            if log.place.seq != seq:
                raise _MovedError
            return done(command, self._deleted())

        try:
            await self.append(caller, session_id, command, decide)
        except _MovedError:
            return False
        return True

    async def undo(self, caller: Caller, session_id: str) -> Session:
        """The session, there again. Raises as AppendCommand."""
        command = CommandRequested(undelete=UndeleteCommand())

        async def decide(_: LogSoFar) -> Follow:
            return done(command, SessionUndeleted())

        return await self.append.session(caller, await self.append(caller, session_id, command, decide))

    def _deleted(self) -> SessionDeleted:
        deleted = SessionDeleted()
        deleted.purge_time.FromDatetime(self.append.clock() + self.undelete_window)
        return deleted


class _MovedError(Exception):
    """The log went on."""
