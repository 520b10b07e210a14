"""A collector of traces: OTLP's own service, over gRPC, that keeps every span it is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True)
class Told:
    """A span, and who told of it."""

    service: str
    span: Span

    @property
    def attributes(self) -> dict[str, object]:
        """By name; texts and whole numbers."""
        return {
            one.key: one.value.string_value if one.value.HasField("string_value") else one.value.int_value
            for one in self.span.attributes
        }

    @property
    def linked(self) -> list[bytes]:
        """The spans it is linked to."""
        return [link.span_id for link in self.span.links]


@dataclass(slots=True)
class Collector(TraceServiceServicer):
    """What was sent so far."""

    address: str = ""
    told: list[Told] = field(default_factory=list)

    async def Export(  # noqa: N802 - gRPC names its methods
        self, request: pb.ExportTraceServiceRequest, context: Any
    ) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.told += [Told(named["service.name"], span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def spans(self, name: str, **attributes: object) -> list[Told]:
        """All of a name, in the order they began, that have these attributes of ours."""
        wanted = {f"milepost.{key}": value for key, value in attributes.items()}
        found = [one for one in self.told if one.span.name == name and wanted.items() <= one.attributes.items()]
        return sorted(found, key=lambda one: one.span.start_time_unix_nano)

    async def until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Wait for spans: processes send them in batches."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.02)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process send its spans here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }


@contextlib.asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    server = grpc.aio.server()
    collector = Collector()
    add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)
