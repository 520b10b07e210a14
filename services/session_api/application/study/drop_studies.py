"""Drop studies: of deleted ones the sessions go, too, then the row that says so.

A session of one study may answer for a cell of another, which took its stored result. It goes with the last of them:

    sessions of the study, and those its cells name whose own study is gone
        less what a cell of any study that is left names
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import grpc
import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from runtime.blobs import BlobCorrupt, BlobMissing
from runtime.errors import CallRefused
from runtime.identity import acting_for
from session_api.application.append_command import Caller
from session_api.application.delete_session import DeleteSession
from session_api.application.study.shown_studies import found
from session_api.application.study.study_logs import StudyLogs
from session_api.application.study.study_state import StudySoFar
from session_api.gateways.studies_sql import Studies
from session_api.gateways.study_sessions import StudySessions

log = structlog.get_logger()

# How often deleted studies are looked for, seconds.
PERIOD_S = 2.0
_DELETES_AT_ONCE = 8
_AWAY = (grpc.aio.AioRpcError, nats.errors.Error, SQLAlchemyError, TimeoutError, CallRefused, BlobMissing, BlobCorrupt)


@dataclass(frozen=True, slots=True)
class DropStudies:
    """One after the other, for ever; every step may be done again, and by several replicas at once."""

    logs: StudyLogs
    studies: Studies
    sessions: StudySessions
    delete: DeleteSession

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                for tenant, study_id in await self.studies.deleted():
                    await self._try(tenant, study_id)
            except (SQLAlchemyError, TimeoutError) as error:
                log.warning("deleted studies are looked for later", error=repr(error))
            await asyncio.sleep(PERIOD_S)

    async def _try(self, tenant: str, study_id: str) -> None:
        try:
            with acting_for(tenant):
                await self._drop(tenant, study_id)
        except _AWAY as error:
            # It does not keep the others.
            log.warning("deleted study is dropped later", study=study_id, error=repr(error))

    async def _drop(self, tenant: str, study_id: str) -> None:
        going = set(await self.sessions.of_study(tenant, study_id))
        left = {study.study_id: study for study in await self.studies.listed(tenant)}
        gone = await found(self.logs.read(tenant, study_id))
        if gone is not None:
            makers = await self.sessions.studies_of(tenant, _taken(gone))
            going |= {session_id for session_id, maker in makers.items() if maker not in left}
        # Only who took stored results names sessions of others.
        for other in (name for name, study in left.items() if going and study.progress.cached):
            if (read := await found(self.logs.read(tenant, other))) is not None:
                going -= _taken(read)
        deleted = await self._delete(tenant, going)
        await self.studies.forget(tenant, study_id)
        log.info("deleted study dropped", study=study_id, sessions=deleted, kept=len(going) - deleted)

    async def _delete(self, tenant: str, session_ids: Collection[str]) -> int:
        """How many of them were deleted; the others go on, or are gone."""
        turn = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(session_id: str) -> bool:
            async with turn:
                try:
                    await self.delete(Caller(tenant, wait_s=0.0, asked_by="study"), session_id)
                except CallRefused as refused:
                    log.info("session of a deleted study left alone", session=session_id, reason=str(refused))
                    return False
                return True

        return sum(await asyncio.gather(*(delete(session_id) for session_id in sorted(session_ids))))


def _taken(study: StudySoFar) -> set[str]:
    """Sessions whose stored results its cells took."""
    return {cell.session_id for cell in study.cells.values() if cell.cached and cell.session_id}
