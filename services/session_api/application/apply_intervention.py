"""Intervene: change something in the running simulation, or ask whether it would be refused."""

from dataclasses import dataclass

from milepost.dispatch.v1.dispatch_pb2 import CheckIntervention, WorkerAnswer, WorkerQuestion
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import CommandRequested
from milepost.intervention.v1.intervention_pb2 import Intervention
from runtime.errors import CallRefused, FieldViolation
from session_api.application.append_command import (
    BY_WORKER,
    AppendCommand,
    Appended,
    Caller,
    Follow,
    claimed,
    require_legal_now,
)
from session_api.application.refusals import no_worker
from session_api.gateways.fleet import Fleet
from session_api.gateways.projected import Outcome
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class ApplyIntervention:
    """States that step; before it steps the command waits in the log."""

    append: AppendCommand
    fleet: Fleet

    async def __call__(
        self, caller: Caller, session_id: str, change: Intervention, *, comment: str
    ) -> tuple[Appended, Outcome | None]:
        """The command in the log, and where it was applied; None when the caller's patience was over first.

        Raises as AppendCommand, and CallRefused(COMMAND_REJECTED).
        """
        command = CommandRequested(intervene=change, comment=comment)

        async def decide(_: LogSoFar) -> Follow:
            return BY_WORKER

        appended = await self.append(caller, session_id, command, decide)
        return appended, await self.append.outcome(caller, appended)

    async def check(self, caller: Caller, session_id: str, change: Intervention) -> None:
        """Return when the worker would apply it now.

        Raises CallRefused: SESSION_NOT_FOUND, INVALID_TRANSITION, NO_WORKER, INTERVENTION_INVALID.
        """
        log = await self.append.read(caller.tenant, session_id)
        require_legal_now(log, CommandRequested(intervene=change))
        answer = await self._ask(caller.tenant, session_id, change, log)
        if answer is None or not answer.running:
            raise no_worker(f"no worker has session {session_id!r} at this moment")
        if answer.refused:
            raise CallRefused(
                errors_pb2.ERROR_REASON_INTERVENTION_INVALID,
                answer.refused,
                metadata={"field": answer.field},
                violations=[FieldViolation(answer.field, answer.refused)] if answer.field else [],
            )

    async def _ask(self, tenant: str, session_id: str, change: Intervention, log: LogSoFar) -> WorkerAnswer | None:
        if not claimed(log):
            return None
        question = CheckIntervention(tenant=tenant, session_id=session_id, intervention=change)
        return await self.fleet.ask(log.life.worker_id, WorkerQuestion(check_intervention=question))
