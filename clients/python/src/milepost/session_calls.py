"""How a verb of SessionService is called: tried again while that can help, always with the same request id."""

import uuid
from typing import TypeVar

import grpc

from milepost.connection import Connection
from milepost.session.v1.session_service_pb2_grpc import SessionServiceStub

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class SessionCalls:
    """A connection to session_api. Every failure of a call is a MilepostError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = SessionServiceStub(connection.channel)

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_s: float | None = None,
    ) -> ResponseT:
        """The answer to a request; each try may take `timeout_s`, by default what is left of `retry_for_s`."""
        return await self._connection.call(lambda left_s: method(request, timeout=timeout_s or left_s))


def wish_id(request_id: str | None) -> str:
    """The caller's own request id, or a new one: each wish has one, and all its tries have the same."""
    return request_id or str(uuid.uuid4())
