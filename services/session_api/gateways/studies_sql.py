"""Studies in lists, and the request ids of those who asked for them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.study.v1.study_pb2 import Study, StudyState
from runtime.database import in_time
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.studies_rows import DELETED, put_study
from session_api.gateways.tables import studies, study_requests

_OPEN = (StudyState.STUDY_STATE_RUNNING, StudyState.STUDY_STATE_CANCELLING)


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """A request id, and what it is used for."""

    request_id: str
    study_id: str
    request_digest: bytes


@dataclass(frozen=True, slots=True)
class Studies:
    """Reads and writes; shares its transactions with those of sessions."""

    engine: AsyncEngine
    sessions: Sessions

    async def remember(self, tenant: str, asked: StudyRequest) -> StudyRequest:
        """Note what a request id is used for; its first use when there was one before."""

        async def work(connection: AsyncConnection) -> StudyRequest:
            known = await self._recall(connection, tenant, asked.request_id)
            if known is None:
                values = {"study_id": asked.study_id, "request_digest": asked.request_digest}
                await connection.execute(
                    insert(study_requests).values(tenant=tenant, request_id=asked.request_id, **values)
                )
            return known or asked

        try:
            return await self.sessions.write(work)
        except IntegrityError:
            # Another replica was first in this very moment: now it can be seen.
            return await self.sessions.write(work)

    @in_time
    async def recall(self, tenant: str, request_id: str) -> StudyRequest | None:
        """What a request id was used for, if it was."""
        async with self.engine.connect() as connection:
            return await self._recall(connection, tenant, request_id)

    async def put(self, tenant: str, study: Study) -> None:
        """Note how a study stands; what is further already stays."""
        await self.sessions.write(lambda connection: put_study(connection, tenant, study))

    async def note(self, tenant: str, study: Study) -> None:
        """Note how a listed study stands; one that is further, or off the list, stays so."""
        values = {"state": study.state, "seq": study.seq, "resource": study.SerializeToString()}
        known = update(studies).where(*_named(tenant, study.study_id), studies.c.seq <= study.seq).values(values)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(known)

        await self.sessions.write(work)

    async def forget(self, tenant: str, study_id: str) -> None:
        """Take a deleted study off the list for good."""
        row = delete(studies).where(*_named(tenant, study_id), studies.c.state == DELETED)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(row)

        await self.sessions.write(work)

    @in_time
    async def deleted(self) -> list[tuple[str, str]]:
        """(tenant, id) of deleted studies that may have sessions left."""
        query = select(studies.c.tenant, studies.c.study_id).where(studies.c.state == DELETED)
        async with self.engine.connect() as connection:
            return [(row.tenant, row.study_id) for row in await connection.execute(query)]

    @in_time
    async def listed(self, tenant: str) -> list[Study]:
        """All studies of a tenant, in no order."""
        query = select(studies.c.resource).where(studies.c.tenant == tenant, studies.c.state != DELETED)
        async with self.engine.connect() as connection:
            return [Study.FromString(row.resource) for row in await connection.execute(query)]

    @in_time
    async def open(self) -> list[tuple[str, str]]:
        """(tenant, id) of every study that has not ended."""
        query = select(studies.c.tenant, studies.c.study_id).where(studies.c.state.in_(_OPEN))
        async with self.engine.connect() as connection:
            found = await connection.execute(query.order_by(studies.c.create_time))
            return [(row.tenant, row.study_id) for row in found]

    @in_time
    async def page(self, tenant: str, *, size: int, after: tuple[datetime, str] | None) -> list[Study]:
        """Studies, newest first, after a (create time, id)."""
        query = (
            select(studies.c.resource)
            .where(studies.c.tenant == tenant, studies.c.state != DELETED)
            .order_by(studies.c.create_time.desc(), studies.c.study_id.desc())
            .limit(size)
        )
        if after is not None:
            query = query.where(tuple_(studies.c.create_time, studies.c.study_id) < tuple_(*after))
        async with self.engine.connect() as connection:
            return [Study.FromString(row.resource) for row in await connection.execute(query)]

    @in_time
    async def get(self, tenant: str, study_id: str) -> Study | None:
        """A study as it was noted last."""
        query = select(studies.c.resource).where(*_named(tenant, study_id))
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return Study.FromString(row.resource) if row else None

    async def _recall(self, connection: AsyncConnection, tenant: str, request_id: str) -> StudyRequest | None:
        mine = (study_requests.c.tenant == tenant, study_requests.c.request_id == request_id)
        row = (await connection.execute(select(study_requests).where(*mine))).one_or_none()
        return StudyRequest(row.request_id, row.study_id, row.request_digest) if row else None


def _named(tenant: str, study_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return studies.c.tenant == tenant, studies.c.study_id == study_id
