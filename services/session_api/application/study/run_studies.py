"""Run all studies that have not ended, those of before a restart, too."""

import asyncio
import contextlib
from dataclasses import dataclass, field

import grpc
import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from runtime.blobs import BlobCorrupt, BlobMissing
from runtime.errors import CallRefused
from runtime.identity import acting_for
from runtime.process import cancel
from session_api.application.create_session import CreateSession
from session_api.application.end_session import EndSession
from session_api.application.fork_session import ForkSession
from session_api.application.study.judge import Judge
from session_api.application.study.run_study import RunStudy
from session_api.application.study.study_cells import StudyCells
from session_api.application.study.study_logs import StudyLogs
from session_api.application.study.study_window import StudyWindow
from session_api.gateways.fleet import Fleet
from session_api.gateways.results_sql import Results
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.studies_sql import Studies
from session_api.gateways.study_sessions import StudySessions

log = structlog.get_logger()

# How often studies are looked for that somebody else has begun, seconds.
_LOOK_S = 2.0
# How long to wait before a study goes on that met something away, seconds.
_AGAIN_S = 1.0
_AWAY = (grpc.aio.AioRpcError, nats.errors.Error, SQLAlchemyError, TimeoutError, CallRefused, BlobMissing, BlobCorrupt)

_Key = tuple[str, str]


@dataclass(slots=True)
class RunStudies:
    """One task for each; of several replicas all try, and the log lets one win."""

    logs: StudyLogs
    create: CreateSession
    fork: ForkSession
    end: EndSession
    sessions: Sessions
    study_sessions: StudySessions
    studies: Studies
    results: Results
    fleet: Fleet
    judge: Judge
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _running: dict[_Key, asyncio.Task[None]] = field(default_factory=dict)

    def look(self) -> None:
        """A study has begun, or is to end."""
        self._changed.set()

    async def __call__(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                self._changed.clear()
                try:
                    for key in await self.studies.open():
                        if key not in self._running:
                            self._running[key] = asyncio.create_task(self._run(*key), name=f"study {key[1]}")
                except (SQLAlchemyError, TimeoutError) as error:
                    log.warning("studies are looked for later", error=repr(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._changed.wait()
        finally:
            await cancel(*self._running.values())

    async def _run(self, tenant: str, study_id: str) -> None:
        """One study to its end, or until something is wrong with it that waiting does not mend."""
        try:
            with acting_for(tenant):
                while True:
                    try:
                        await (await self._runner(tenant, study_id))()
                    except _AWAY as error:
                        log.warning("study goes on later", study=study_id, error=repr(error))
                        await asyncio.sleep(_AGAIN_S)
                    else:
                        return
        finally:
            self._running.pop((tenant, study_id), None)

    async def _runner(self, tenant: str, study_id: str) -> RunStudy:
        study = await self.logs.read(tenant, study_id)
        window = StudyWindow(
            self.create, self.fork, self.fleet, tenant=tenant, subject=study.created.subject, pool=study.plan.pool
        )
        return RunStudy(
            tenant,
            study_id,
            logs=self.logs,
            cells=StudyCells(window, self.results, self.study_sessions),
            judge=self.judge,
            studies=self.studies,
            sessions=self.sessions,
            study_sessions=self.study_sessions,
            end=self.end,
        )
