"""`milepost.event.v1.EventService` over the use cases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from event_store.application.export_log import ExportLog
from event_store.application.find_log import FindLog
from event_store.application.follow_all import FollowAll
from event_store.application.heads import Heads
from event_store.application.query_metrics import QueryMetrics
from event_store.application.read_log import ReadLog
from event_store.application.watch_log import WatchLog
from milepost.errors.v1 import errors_pb2
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import EventKind
from milepost.event.v1.export_pb2 import ExportEventsRequest, ExportEventsResponse
from milepost.event.v1.metrics_pb2 import QueryMetricsRequest, QueryMetricsResponse
from runtime.errors import CallRefused
from runtime.identity import ADMIN, caller

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = pb.DESCRIPTOR.services_by_name["EventService"].full_name
RESUME_TRAILER = "milepost-resume-seq"


@dataclass(frozen=True)
class EventServiceAdapter:
    """Translates; see the proto for what each call promises."""

    read: ReadLog
    watch: WatchLog
    follow: FollowAll
    find: FindLog
    heads: Heads
    metrics: QueryMetrics
    export: ExportLog

    async def read_events(self, request: pb.ReadEventsRequest, context: Context) -> bytes:
        """ReadEvents, already serialised."""
        return await self.read(caller().tenant, request)

    async def watch_events(self, request: pb.WatchEventsRequest, context: Context) -> AsyncIterator[bytes]:
        """WatchEvents, already serialised."""

        def say_cursor(seq: int) -> None:
            context.set_trailing_metadata(((RESUME_TRAILER, str(seq)),))

        async for response in self.watch(caller().tenant, request, say_cursor):
            yield response

    async def watch_all_events(
        self, request: pb.WatchAllEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchAllEventsResponse]:
        """WatchAllEvents."""
        who = caller()
        if request.all_tenants and not who.has(ADMIN):
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_PERMITTED,
                f"following all tenants needs the role {ADMIN!r}",
                metadata={"role": ADMIN},
            )
        async for response in self.follow(None if request.all_tenants else who.tenant, request):
            yield response

    async def get_head(self, request: pb.GetHeadRequest, context: Context) -> pb.GetHeadResponse:
        """GetHead."""
        head = await self.find(caller().tenant, request.session_id)
        return pb.GetHeadResponse(
            head_seq=head.head_seq,
            oldest_seq=head.oldest_seq,
            stream_seq=head.stream_seq,
            head_kind=EventKind.ValueType(head.head_kind),
            watchers=self.heads.watchers((caller().tenant, request.session_id)),
            ingest_lag=self.heads.lag(),
        )

    async def query_metrics(self, request: QueryMetricsRequest, context: Context) -> QueryMetricsResponse:
        """QueryMetrics."""
        return await self.metrics(caller().tenant, request)

    async def export_events(
        self, request: ExportEventsRequest, context: Context
    ) -> AsyncIterator[ExportEventsResponse]:
        """ExportEvents."""
        async for response in self.export(caller().tenant, request):
            yield response


def add_event_service(adapter: EventServiceAdapter, server: grpc.aio.Server) -> None:
    """Register the service.

    By hand, because events are sent as the bytes that are stored; the same ones go to every watcher.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ReadEvents": grpc.unary_unary_rpc_method_handler(
            adapter.read_events,
            request_deserializer=pb.ReadEventsRequest.FromString,
            response_serializer=bytes,
        ),
        "WatchEvents": grpc.unary_stream_rpc_method_handler(
            adapter.watch_events,
            request_deserializer=pb.WatchEventsRequest.FromString,
            response_serializer=bytes,
        ),
        "WatchAllEvents": grpc.unary_stream_rpc_method_handler(
            adapter.watch_all_events,
            request_deserializer=pb.WatchAllEventsRequest.FromString,
            response_serializer=pb.WatchAllEventsResponse.SerializeToString,
        ),
        "GetHead": grpc.unary_unary_rpc_method_handler(
            adapter.get_head,
            request_deserializer=pb.GetHeadRequest.FromString,
            response_serializer=pb.GetHeadResponse.SerializeToString,
        ),
        "QueryMetrics": grpc.unary_unary_rpc_method_handler(
            adapter.query_metrics,
            request_deserializer=QueryMetricsRequest.FromString,
            response_serializer=QueryMetricsResponse.SerializeToString,
        ),
        "ExportEvents": grpc.unary_stream_rpc_method_handler(
            adapter.export_events,
            request_deserializer=ExportEventsRequest.FromString,
            response_serializer=ExportEventsResponse.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
