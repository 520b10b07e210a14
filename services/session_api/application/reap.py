"""Reap: end sessions nobody commands, delete ended ones in time, forget deleted ones and results nobody asks for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from milepost.session.v1.session_pb2 import Session
from runtime.errors import CallRefused
from session_api.application.append_command import Caller
from session_api.application.end_session import EndSession
from session_api.application.forget_results import ForgetResults
from session_api.application.retire import Retire
from session_api.gateways.sessions_sql import Sessions

log = structlog.get_logger()

REAPER = "reaper"


@dataclass(frozen=True, slots=True)
class Reap:
    """Looks after it for ever. The event store drops the logs of deleted sessions by itself."""

    sessions: Sessions
    end: EndSession
    retire: Retire
    forget: ForgetResults
    period_s: float
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                for tenant, session in await self.sessions.overdue(self.clock().replace(tzinfo=None)):
                    await self._reap(tenant, session)
                await self.retire()
                await self.forget()
            except (nats.errors.Error, SQLAlchemyError) as error:
                log.warning("reaping goes on later", error=repr(error))
            await asyncio.sleep(self.period_s)

    async def _reap(self, tenant: str, session: Session) -> None:
        if session.HasField("delete_time"):
            await self.sessions.remove(tenant, session.session_id)
            log.info("session forgotten", session=session.session_id)
            return
        caller = Caller(tenant, wait_s=0.0, asked_by=REAPER)
        why = f"nobody commanded it for {session.spec.limits.idle_ttl_s} s"
        try:
            # What the projection knows may be old: the session must not have moved since.
            reaped = await self.end.terminate_idle(caller, session.session_id, seq=session.seq, comment=why)
        except CallRefused as refused:
            log.info("idle session left alone", session=session.session_id, reason=str(refused))
        else:
            log.info("idle session", session=session.session_id, terminated=reaped)
