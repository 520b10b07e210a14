"""A command as the root of a trace, when the standard variables ask for one and OpenTelemetry's SDK is installed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def _wanted() -> bool:
    """As the services decide it (docs/telemetry.md)."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER")
    return "otlp" in exporter.split(",") if exporter else any(os.environ.get(name) for name in _ENDPOINTS)


@contextmanager
def traced(command: str) -> Iterator[None]:
    """Run a command in a span of its own; everything it asks of a server is below it."""
    if not _wanted():
        yield
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra of this package
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        yield
        return
    name = os.environ.get("OTEL_SERVICE_NAME", "milepost")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        # How it ended, an exit code says.
        with provider.get_tracer("milepost").start_as_current_span(f"milepost {command}", record_exception=False):
            yield
    finally:
        provider.shutdown()
