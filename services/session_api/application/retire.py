"""Retire: delete ended sessions whose time is over. Like any deletion, it can be undone for a while."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from milepost.session.v1.session_pb2 import Session
from runtime.errors import CallRefused
from session_api.application.append_command import Caller
from session_api.application.delete_session import DeleteSession
from session_api.gateways.sessions_kept import KeptSessions

log = structlog.get_logger()

RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class Retire:
    """`limits.keep_ended_s` of the session, else `keep_ended`; None: for ever."""

    kept: KeptSessions
    delete: DeleteSession
    keep_ended: timedelta | None
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, *, dry_run: bool = False) -> list[Session]:
        """The sessions whose time is over, as they were; deleted now unless `dry_run`."""
        found = await self.kept.outlived(self.clock().replace(tzinfo=None), keep_ended=self.keep_ended)
        if dry_run:
            return [session for _, session in found]
        return [session for tenant, session in found if await self._delete(tenant, session)]

    async def _delete(self, tenant: str, session: Session) -> bool:
        caller = Caller(tenant, wait_s=0.0, asked_by=RETENTION)
        try:
            # What the projection knows may be old: the session must not have moved since.
            deleted = await self.delete.if_still(caller, session.session_id, seq=session.seq)
        except CallRefused as refused:
            log.info("ended session left alone", session=session.session_id, reason=str(refused))
            return False
        log.info("ended session deleted for its age", session=session.session_id, deleted=deleted)
        return deleted
