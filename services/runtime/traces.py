"""Traces (OpenTelemetry): a session is one trace, from the request that made it to those who watch it.

    client ──gRPC metadata──► session_api ──NATS headers──► sim_worker ──NATS headers──► event_store ──► watchers

Off unless the standard variables ask for it: `OTEL_TRACES_EXPORTER=otlp`, or an OTLP endpoint. While off nothing of
the SDK is loaded and every function here returns at once. What travels is a W3C `traceparent`, in headers only: a
log's records do not depend on whether anybody traces them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

TRACEPARENT = "traceparent"
"""Name of the header, on the broker as in gRPC."""

# How long the last spans may take to leave when the process stops, seconds.
_FAREWELL_S = 3.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_propagator = TraceContextTextMapPropagator()
_tracer: trace.Tracer | None = None


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether these variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER")
    return "otlp" in exporter.split(",") if exporter else any(environment.get(name) for name in _ENDPOINTS)


@contextlib.contextmanager
def configured(service: str) -> Iterator[None]:
    """Send spans while the body runs, if the environment asks for it; the last ones leave with the process."""
    global _tracer  # noqa: PLW0603 - one process is one service
    if not wanted(os.environ):
        yield
        return
    # Loaded by those who trace: it takes a tenth of a second.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    own = {SERVICE_NAMESPACE: "milepost", SERVICE_INSTANCE_ID: f"{service}-{os.getpid()}"}
    if "OTEL_SERVICE_NAME" not in os.environ:
        own[SERVICE_NAME] = service
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("milepost")
    try:
        yield
    finally:
        _tracer = None
        # A collector that is away must not keep the process.
        farewell = threading.Thread(target=provider.shutdown, daemon=True)
        farewell.start()
        farewell.join(_FAREWELL_S)


def enabled() -> bool:
    """Whether spans are made at all: asked where even gathering what they say would cost something."""
    return _tracer is not None


def current() -> str:
    """The span this task is in, as a `traceparent`; empty outside of any, and while traces are off."""
    if _tracer is None:
        return ""
    return _written(trace.get_current_span())


def headers() -> dict[str, str] | None:
    """`current` as headers of a message; None when there is nothing to say."""
    here = current()
    return {TRACEPARENT: here} if here else None


@contextlib.contextmanager
def span(
    name: str,
    *,
    parent: str = "",
    links: Sequence[str] = (),
    kind: SpanKind = SpanKind.INTERNAL,
    **attributes: AttributeValue,
) -> Iterator[Span]:
    """A span around the body, which is the current one there; below `parent` (a `traceparent`) or the current one."""
    if _tracer is None:
        yield INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name, _below(parent), kind=kind, links=_links(links), attributes=_named(attributes)
    ) as begun:
        yield begun


def begin(name: str, **attributes: AttributeValue) -> Span:
    """A span below the current one, which does not become it; whoever began it ends it."""
    if _tracer is None:
        return INVALID_SPAN
    return _tracer.start_span(name, attributes=_named(attributes))


def happened(
    name: str,
    *,
    parent: str,
    since_ns: int,
    links: Sequence[str] = (),
    kind: SpanKind = SpanKind.INTERNAL,
    **attributes: AttributeValue,
) -> str:
    """Tell of something that took from `since_ns` (of `time.time_ns`) until now; its own `traceparent`."""
    if _tracer is None:
        return ""
    done = _tracer.start_span(
        name, _below(parent), kind=kind, links=_links(links), attributes=_named(attributes), start_time=since_ns
    )
    done.end(time.time_ns())
    return _written(done)


def served(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Span:
    """The span of a call that came with this metadata; current for the rest of the task, which serves no other."""
    if _tracer is None:
        return INVALID_SPAN
    parent = next((value for key, value in metadata if key == TRACEPARENT and isinstance(value, str)), "")
    service, _, name = method.lstrip("/").partition("/")
    begun = _tracer.start_span(
        f"{service}/{name}",
        _below(parent),
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
    )
    otel_context.attach(trace.set_span_in_context(begun))
    return begun


def failed(one: Span, words: str) -> None:
    """Mark a span as one that went wrong."""
    one.set_status(StatusCode.ERROR, words)


def linked(one: Span, to: str) -> None:
    """Link a span to another one by that one's `traceparent`; nothing when it is empty."""
    for link in _links([to]):
        one.add_link(link.context)


def _written(one: Span) -> str:
    place = one.get_span_context()
    if not place.is_valid:
        return ""
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"


def _place(traceparent: str) -> SpanContext:
    return trace.get_current_span(
        _propagator.extract({TRACEPARENT: traceparent}, otel_context.Context())
    ).get_span_context()


def _below(parent: str) -> otel_context.Context | None:
    """None: below the current span."""
    return _propagator.extract({TRACEPARENT: parent}, otel_context.Context()) if parent else None


def _links(traceparents: Sequence[str]) -> list[Link]:
    return [Link(place) for place in map(_place, filter(None, traceparents)) if place.is_valid]


def _named(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {f"milepost.{name}": value for name, value in attributes.items()}
