"""Calls carry the trace they are made in, where the program has set OpenTelemetry up before it connects.

A call with one answer is a span of its own; a stream carries the span it was opened in. A program that does not
trace loads nothing of OpenTelemetry here, and its channels have no interceptors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc

_METADATA = "metadata"


def trace_interceptors() -> Sequence[grpc.aio.ClientInterceptor]:
    """What a channel needs; nothing unless this program traces."""
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry import trace  # noqa: PLC0415 - an extra of this package

    if isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return ()
    return (_OneAnswer(), _OneAnswerToMany(), _ManyAnswers())


class _OneAnswer(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await _spanned(continuation, details, request)


class _OneAnswerToMany(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return await _spanned(continuation, details, requests)


class _ManyAnswers(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await continuation(_traced(details), request)


async def _spanned(continuation: Callable[..., Any], details: Any, request: Any) -> Any:
    from opentelemetry import trace  # noqa: PLC0415 - an extra of this package

    service, _, method = _text(details.method).lstrip("/").partition("/")
    with trace.get_tracer("milepost").start_as_current_span(
        f"{service}/{method}",
        kind=trace.SpanKind.CLIENT,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
    ) as span:
        call = await continuation(_traced(details), request)
        # Waits for the end, and raises nothing: the caller does that.
        code = await call.code()
        span.set_attribute("rpc.grpc.status", code.name)
        if code is not grpc.StatusCode.OK:
            span.set_status(trace.StatusCode.ERROR, code.name)
        return call


def _traced(details: Any) -> grpc.aio.ClientCallDetails:
    """The details with the current span in their metadata."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    metadata = grpc.aio.Metadata(*(getattr(details, _METADATA) or ()), *carrier.items())
    return cast(grpc.aio.ClientCallDetails, details._replace(metadata=metadata))


def _text(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method
