"""Create many sessions: each item is checked, created and refused as if it had come alone."""

import uuid
from dataclasses import dataclass

from milepost.session.v1.session_service_pb2 import BatchCreateSessionsRequest, CreateSessionRequest
from runtime.errors import CallRefused
from runtime.grpc_calls import validate
from session_api.application.create_session import Created, CreateSession


@dataclass(frozen=True, slots=True)
class BatchCreateSessions:
    """One idempotency key; the items' keys follow from it."""

    create: CreateSession

    async def __call__(self, tenant: str, request: BatchCreateSessionsRequest, *, subject: str = "") -> list[Created]:
        """For each item, in order, its session or its refusal. Raises as CreateSession.many."""
        refused = {index: why for index, item in enumerate(request.requests) if (why := _broken_rule(item)) is not None}
        batch = request.request_id or str(uuid.uuid4())
        wanted = [_named(item, batch, index) for index, item in enumerate(request.requests) if index not in refused]
        created = iter(await self.create.many(tenant, wanted, subject=subject) if wanted else ())
        return [refused[index] if index in refused else next(created) for index in range(len(request.requests))]


def _broken_rule(item: CreateSessionRequest) -> CallRefused | None:
    try:
        validate(item)
    except CallRefused as refused:
        return refused
    return None


def _named(item: CreateSessionRequest, batch: str, index: int) -> CreateSessionRequest:
    if item.request_id:
        return item
    named = CreateSessionRequest()
    named.CopyFrom(item)
    named.request_id = str(uuid.uuid5(uuid.UUID(batch), str(index)))
    return named
