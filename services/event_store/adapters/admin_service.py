"""`milepost.admin.v1.StoreAdminService` over the use cases."""

from dataclasses import dataclass
from typing import Any

import grpc

from event_store.application.clean_up import CleanUp
from event_store.application.collect_garbage import NotNow
from milepost.admin.v1 import admin_service_pb2 as pb
from milepost.admin.v1.admin_service_pb2_grpc import StoreAdminServiceServicer
from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = pb.DESCRIPTOR.services_by_name["StoreAdminService"].full_name


@dataclass(frozen=True)
class StoreAdminServiceAdapter(StoreAdminServiceServicer):
    """Translates; see the proto for what each call promises."""

    clean_up: CleanUp

    async def CleanUp(self, request: pb.CleanUpRequest, context: Context) -> pb.CleanUpResponse:
        """See the proto."""
        try:
            cleaned = await self.clean_up.once(dry_run=request.dry_run)
        except NotNow as reason:
            raise CallRefused(errors_pb2.ERROR_REASON_NOT_NOW, str(reason), retry_after_s=1.0) from reason
        return pb.CleanUpResponse(
            dropped_sessions=cleaned.dropped_logs,
            cut_sessions=cleaned.cut.logs,
            cut_events=cleaned.cut.events,
            erased_blobs=cleaned.garbage.blobs,
            erased_bytes=cleaned.garbage.content_bytes,
        )
