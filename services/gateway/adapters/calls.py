"""One call of a browser: its messages to the service as they come, the service's to the browser as they come.

Nothing is kept back and nothing gets ahead: a browser that does not read lets the connection fill up, then this
process stops reading from the service, which sees a slow watcher and does what it does with those. When the browser
goes, its call is cancelled; when the gateway has to go, open calls end with UNAVAILABLE and clients resume elsewhere.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import structlog
from prometheus_client import Counter, Gauge

from gateway.adapters.grpc_web import CONTENT_TYPE, BadFrame, Body, ClientGone, Receive, frame, timeout_s, trailers
from gateway.adapters.origins import Headers
from gateway.gateways.upstream import Method
from runtime.process import cancel

log = structlog.get_logger()

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_calls = Counter("milepost_gateway_calls_total", "Browsers' calls that ended, by gRPC status", ["method", "code"])
_open = Gauge("milepost_gateway_open_calls", "Browsers' calls being served", ["method"])
# Of a request's headers the services hear these: who calls, for whom (they refuse users that), in which trace.
_PASSED_ON = ("authorization", "milepost-tenant", "traceparent", "tracestate")
# The transport's own; all other trailers are the services'.
_NOT_TOLD = frozenset({"grpc-status", "grpc-message"})
_NO_TOKEN = (grpc.StatusCode.UNAUTHENTICATED, "a call over this gateway needs a token")
_GOING = (grpc.StatusCode.UNAVAILABLE, "the gateway is being stopped; call again")


class Calls:
    """Answers calls until `stopping` is set, which ends those that are open."""

    def __init__(self, stopping: asyncio.Event, *, token_required: bool) -> None:
        self._stopping = stopping
        self._token_required = token_required

    async def __call__(
        self, method: Method, headers: Mapping[str, str], permission: Headers, receive: Receive, send: Send
    ) -> None:
        """Answer one; returns when it has ended, however it did."""
        answer = _Answer(permission, send)
        with _open.labels(method.name).track_inprogress():
            try:
                code = await self._answered(method, headers, receive, answer)
            except ClientGone:
                code = grpc.StatusCode.CANCELLED
        _calls.labels(method.name, code.name).inc()

    async def _answered(
        self, method: Method, headers: Mapping[str, str], receive: Receive, answer: "_Answer"
    ) -> grpc.StatusCode:
        if self._token_required and "authorization" not in headers:
            return await answer.end(*_NO_TOKEN)
        metadata = tuple((name, headers[name]) for name in _PASSED_ON if name in headers)
        body = Body(receive)
        try:
            if bad := [name for name, value in metadata if not value.isascii()]:
                raise BadFrame(f"{', '.join(bad)} is not ASCII")
            deadline_s = timeout_s(headers.get("grpc-timeout", ""))
            call = await _begun(method, body, {"metadata": metadata, "timeout": deadline_s})
        except BadFrame as bad:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if bad.too_large else grpc.StatusCode.INVALID_ARGUMENT
            await body.drain()
            return await answer.end(code, str(bad))
        telling = asyncio.create_task(_told(method, call, answer), name=method.name)
        leaving = asyncio.create_task(body.gone(), name="leaving")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait({telling, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                return await telling
            if leaving.done():
                raise ClientGone
        finally:
            call.cancel()
            await cancel(telling, leaving, stopping)
        return await answer.end(*_GOING)


async def _begun(method: Method, body: Body, options: Mapping[str, Any]) -> Any:
    """The call to the service, with all that the browser has to say. Raises BadFrame, ClientGone."""
    if not method.client_streaming:
        said = [message async for message in body.messages()]
        if len(said) != 1:
            raise BadFrame(f"{len(said)} messages: {method.name} takes one")
        return method.call(said[0], **options)
    call = method.call(**options)
    try:
        async for message in body.messages():
            if not call.done():
                # A service that has heard enough says so by its answer; the rest is only taken off the wire.
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(message)
    except (BadFrame, ClientGone):
        # Not as if that had been all of it.
        call.cancel()
        raise
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.done_writing()
    return call


async def _told(method: Method, call: Any, answer: "_Answer") -> grpc.StatusCode:
    """Tell the browser what the service answers; the status it ended with."""
    try:
        if method.server_streaming:
            await answer.begin()
            while (message := await call.read()) is not grpc.aio.EOF:
                await answer.tell(message)
        else:
            await answer.tell(await call)
        metadata = await call.trailing_metadata()
    except grpc.aio.AioRpcError as refused:
        return await answer.end(refused.code(), refused.details() or "", refused.trailing_metadata())
    return await answer.end(grpc.StatusCode.OK, "", metadata)


class _Answer:
    """The response of one call; begins by itself."""

    def __init__(self, permission: Headers, send: Send) -> None:
        self._permission, self._send = permission, send
        self._begun = False

    async def begin(self) -> None:
        """Send the head, so that the browser's client knows that the call was taken."""
        if not self._begun:
            self._begun = True
            # Nobody on the way may keep it, or wait for more before anything is passed on.
            own = (
                (b"content-type", CONTENT_TYPE.encode()),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            )
            head = {"type": "http.response.start", "status": 200, "headers": [*own, *self._permission]}
            await self._send(head)

    async def tell(self, message: bytes) -> None:
        """Send a message."""
        await self.begin()
        await self._send({"type": "http.response.body", "body": frame(message), "more_body": True})

    async def end(self, code: grpc.StatusCode, message: str, metadata: Any = ()) -> grpc.StatusCode:
        """Send the trailers; `code`."""
        await self.begin()
        told = ((key, value) for key, value in metadata or () if key not in _NOT_TOLD)
        await self._send({"type": "http.response.body", "body": trailers(code.value[0], message, told)})
        return code
