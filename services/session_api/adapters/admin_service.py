"""`milepost.admin.v1.SessionAdminService` over the use cases."""

from dataclasses import dataclass
from typing import Any

import grpc

from milepost.admin.v1 import admin_service_pb2 as pb
from milepost.admin.v1.admin_service_pb2_grpc import SessionAdminServiceServicer
from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused
from session_api.application.rebuild_sessions import RebuildSessions
from session_api.application.retire import Retire

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = pb.DESCRIPTOR.services_by_name["SessionAdminService"].full_name


@dataclass(frozen=True)
class SessionAdminServiceAdapter(SessionAdminServiceServicer):
    """Translates; see the proto for what each call promises."""

    rebuild: RebuildSessions
    retire: Retire

    async def RebuildSessions(self, request: pb.RebuildSessionsRequest, context: Context) -> pb.RebuildSessionsResponse:
        """See the proto."""
        try:
            rebuilt = await self.rebuild()
        except grpc.aio.AioRpcError as error:
            raise CallRefused(
                errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
                f"the event store does not answer: {error.code().name}",
                retry_after_s=1.0,
            ) from error
        return pb.RebuildSessionsResponse(sessions=rebuilt.sessions, changed=rebuilt.changed, removed=rebuilt.removed)

    async def ApplyRetention(self, request: pb.ApplyRetentionRequest, context: Context) -> pb.ApplyRetentionResponse:
        """See the proto."""
        over = await self.retire(dry_run=request.dry_run)
        return pb.ApplyRetentionResponse(
            sessions=[pb.EndedSession(session_id=session.session_id, end_time=session.end_time) for session in over]
        )
