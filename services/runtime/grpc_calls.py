"""What happens around every gRPC call: its caller is known, its request validated, its failure gets its typed status.

One of the three places where `except Exception` stands: an unexpected exception leaves as INTERNAL with a
correlation id that is in the log beside the stack trace, and with nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NoReturn

import grpc
import nats.errors
import protovalidate
import structlog
from google.protobuf.message import Message

from milepost.errors.v1 import errors_pb2
from runtime.authentication import Authentication, require_valid_still
from runtime.errors import CallRefused, FieldViolation, to_status
from runtime.identity import serve_as
from runtime.observed_calls import observed

log = structlog.get_logger()
_validator = protovalidate.Validator()
_ABSENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
Context = grpc.aio.ServicerContext[Any, Any]
# Whether a database is to blame for an exception: a service without one has nothing of SQLAlchemy in its memory.
DatabaseAway = Callable[[Exception], bool]
# Packages of our services; health and reflection answer for themselves.
_OURS = ("/milepost.", "/externalscaler.")
_STATUS_TRAILER = "grpc-status-details-bin"


def validate(request: Message) -> None:
    """Raise CallRefused(FIELD_INVALID), naming each field that breaks its rule in the proto."""
    violations = _validator.collect_violations(request)
    if not violations:
        return
    found = [
        FieldViolation(
            field=_path(violation.proto.field.elements if violation.proto.field else ()) or request.DESCRIPTOR.name,
            description=violation.proto.message,
        )
        for violation in violations
    ]
    raise CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        "; ".join(f"{v.field}: {v.description}" for v in found),
        violations=found,
    )


def _path(elements: Iterable[Any]) -> str:
    """Where a field stands, for example `spec.variants[3].patch.options[0].name`."""
    path = ""
    for element in elements:
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return path


async def refuse(context: grpc.aio.ServicerContext[Any, Any], refused: CallRefused) -> NoReturn:
    """End the call with the refusal's status and details."""
    status = to_status(refused)
    trailers = (*(context.trailing_metadata() or ()), (_STATUS_TRAILER, status.SerializeToString()))
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, refused.message, trailing_metadata=trailers)
    raise AssertionError("abort does not return")


async def _fail(
    context: grpc.aio.ServicerContext[Any, Any], method: str, error: Exception, database_away: DatabaseAway
) -> NoReturn:
    """End the call as the error deserves."""
    refused = _as_refusal(error, database_away)
    if refused is None:
        correlation_id = uuid.uuid4().hex
        log.exception("call failed", method=method, correlation_id=correlation_id)
        refused = CallRefused(
            errors_pb2.ERROR_REASON_INTERNAL,
            f"internal error, correlation id {correlation_id}",
            metadata={"correlation_id": correlation_id},
        )
    await refuse(context, refused)


def _as_refusal(error: Exception, database_away: DatabaseAway) -> CallRefused | None:
    """A refusal as it is, and what a neighbour's absence means for our caller; None for a defect."""
    match error:
        case CallRefused():
            return error
        case grpc.aio.AioRpcError() if error.code() in _ABSENT:
            log.warning("event store does not answer", status=error.code().name, details=error.details())
            return CallRefused(
                errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, "the event store does not answer", retry_after_s=1.0
            )
        case _ if database_away(error):
            log.warning("database does not answer", error=repr(error))
            return CallRefused(
                errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, "the database does not answer", retry_after_s=1.0
            )
        case nats.errors.Error():
            log.warning("broker does not answer", error=repr(error))
            return CallRefused(
                errors_pb2.ERROR_REASON_BROKER_UNAVAILABLE, "the broker does not answer", retry_after_s=1.0
            )
        case _:
            return None


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Knows callers, validates requests and translates failures for every kind of call we have."""

    def __init__(self, authentication: Authentication, database_away: DatabaseAway) -> None:
        self._authentication = authentication
        self._database_away = database_away

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or (not method.startswith(_OURS) and self._authentication.is_open(method)):
            return handler
        if handler.stream_stream:
            # Reflection; none of ours has this shape.
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler.stream_stream, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(handler.unary_unary, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(handler.stream_unary, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_stream_rpc_method_handler(
            self._stream(handler.unary_stream, method),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _unary(self, behaviour: Any, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            with observed(method, context):
                try:
                    # In the task that runs the handler, and all it starts.
                    serve_as(await self._authentication(method, context))
                    return await behaviour(_valid(request), context)
                except grpc.aio.AbortError:
                    raise
                except Exception as error:  # noqa: BLE001 - the edge: see the module's docstring
                    await _fail(context, method, error, self._database_away)

        return call

    def _stream(self, behaviour: Any, method: str) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            with observed(method, context, stream=True):
                try:
                    who = await self._authentication(method, context)
                    serve_as(who)
                    async for response in behaviour(_valid(request), context):
                        require_valid_still(who)
                        yield response
                except grpc.aio.AbortError:
                    raise
                except Exception as error:  # noqa: BLE001 - the edge: see the module's docstring
                    await _fail(context, method, error, self._database_away)

        return call


def _valid(request: Any) -> Any:
    """A request, or requests one by one, once they are found valid. Raises CallRefused(FIELD_INVALID)."""
    if not isinstance(request, Message):
        return _validated(request)
    validate(request)
    return request


async def _validated(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        validate(request)
        yield request
