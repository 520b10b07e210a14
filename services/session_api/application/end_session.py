"""End a session: Cancel at once, Terminate gracefully."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from milepost.event.v1.event_pb2 import (
    CancelCommand,
    CommandRequested,
    SessionCancelled,
    SessionCompleted,
    TerminateCommand,
)
from milepost.event.v1.record_pb2 import Record
from milepost.session.v1.session_pb2 import CompletionReason, Results, Session
from session_api.application.append_command import BY_WORKER, AppendCommand, Caller, Follow, claimed, ended
from session_api.application.places import Places
from session_log.codec import record
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class EndSession:
    """Any state → CANCELLED or COMPLETED."""

    append: AppendCommand
    places: Places

    async def cancel(self, caller: Caller, session_id: str, *, comment: str) -> Session:
        """End at once. Raises as AppendCommand."""
        command = CommandRequested(cancel=CancelCommand(), comment=comment)

        async def cancelled(_: LogSoFar) -> Record:
            return record(SessionCancelled(command_id=command.command_id))

        return await self._end(caller, session_id, command, cancelled)

    async def terminate(self, caller: Caller, session_id: str) -> Session:
        """End with the results so far. Raises as AppendCommand."""
        command = CommandRequested(terminate=TerminateCommand())

        async def completed(log: LogSoFar) -> Record:
            return await self._results(caller.tenant, session_id, log)

        return await self._end(caller, session_id, command, completed)

    async def terminate_idle(self, caller: Caller, session_id: str, *, seq: int, comment: str) -> bool:
        """Terminate only if the log still ends at `seq`; whether it did. Raises as AppendCommand."""
        command = CommandRequested(terminate=TerminateCommand(), comment=comment)

        async def decide(log: LogSoFar) -> Follow:
            if log.place.seq != seq:
                raise _NotIdleError
            return (
                BY_WORKER if claimed(log) else ended(log, command, await self._results(caller.tenant, session_id, log))
            )

        try:
            await self.append(caller, session_id, command, decide)
        except _NotIdleError:
            return False
        return True

    async def _end(
        self,
        caller: Caller,
        session_id: str,
        command: CommandRequested,
        terminal: Callable[[LogSoFar], Awaitable[Record]],
    ) -> Session:
        async def decide(log: LogSoFar) -> Follow:
            return BY_WORKER if claimed(log) else ended(log, command, await terminal(log))

        appended = await self.append(caller, session_id, command, decide)
        return await self.append.session(caller, appended, until=lambda session: session.HasField("end_time"))

    async def _results(self, tenant: str, session_id: str, log: LogSoFar) -> Record:
        """Results of a session no worker has: those of its last interval."""
        past = await self.places.past(tenant, session_id, log)
        place = self.places.head(past)
        results = Results(
            reason=CompletionReason.COMPLETION_REASON_TERMINATED, steps=place.step, sim_time_s=place.sim_time_s
        )
        for event in past.recorded:
            if event.HasField("interval_closed"):
                results.kpis.CopyFrom(event.interval_closed.kpis)
                results.state_digest = event.interval_closed.state_digest
        return record(SessionCompleted(results=results), step=place.step, sim_time_s=place.sim_time_s)


class _NotIdleError(Exception):
    """The log went on."""
