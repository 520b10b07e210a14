"""Resume: a suspended session goes on in its run, an ended one as a new run with the old one's past."""

from dataclasses import dataclass

from milepost.event.v1.event_pb2 import CommandRequested, ResumeCommand, RunCause, SessionUpdated
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import AppendCommand, Caller, Follow, done
from session_api.application.places import Places
from session_api.application.refusals import field_invalid
from session_api.application.task import open_run, require_end_after
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class ResumeSession:
    """SUSPENDED or an end → PENDING."""

    append: AppendCommand
    places: Places

    async def __call__(
        self, caller: Caller, session_id: str, *, checkpoint_id: str, end_time_s: float | None
    ) -> Session:
        """The session, PENDING.

        Raises as AppendCommand, and CallRefused: CHECKPOINT_NOT_FOUND, FIELD_INVALID.
        """
        command = CommandRequested(resume=ResumeCommand(checkpoint_id=checkpoint_id, end_time_s=end_time_s))

        async def decide(log: LogSoFar) -> Follow:
            if log.life.ended:
                return await self._next_run(caller.tenant, session_id, log, command)
            return await self._same_run(caller.tenant, session_id, log, command)

        return await self.append.session(caller, await self.append(caller, session_id, command, decide))

    async def _same_run(self, tenant: str, session_id: str, log: LogSoFar, command: CommandRequested) -> Follow:
        if command.resume.checkpoint_id:
            raise field_invalid("checkpoint_id", "a suspended session goes on from where it stands; or roll it back")
        if not command.resume.HasField("end_time_s"):
            return done(command, order=True)
        updated = SessionUpdated()
        updated.CopyFrom(log.wish)
        updated.command_id = command.command_id
        updated.spec.end_time_s = updated.scene.end_time_s = command.resume.end_time_s
        require_end_after(updated.scene, await self.places.end(tenant, session_id, log))
        return done(command, updated, order=True)

    async def _next_run(self, tenant: str, session_id: str, log: LogSoFar, command: CommandRequested) -> Follow:
        asked = command.resume
        if asked.checkpoint_id:
            place = await self.places.checkpoint(tenant, session_id, log, asked.checkpoint_id)
        else:
            place = await self.places.end(tenant, session_id, log)
        end_time_s = asked.end_time_s if asked.HasField("end_time_s") else None
        opened = open_run(log, RunCause.RUN_CAUSE_RESUME, place, end_time_s)
        return done(command, opened, run=opened.run, order=True)
