"""`milepost.admin.v1.SessionAdminService` over the use cases."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import grpc

from milepost.admin.v1 import admin_service_pb2 as pb
from milepost.admin.v1.admin_service_pb2_grpc import SessionAdminServiceServicer
from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused
from session_api.application.rebuild_sessions import RebuildSessions
from session_api.application.retire import Retire
from session_api.application.tell_quotas import TellQuotas
from session_api.domain.quota import Quota

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = pb.DESCRIPTOR.services_by_name["SessionAdminService"].full_name


@dataclass(frozen=True)
class SessionAdminServiceAdapter(SessionAdminServiceServicer):
    """Translates; see the proto for what each call promises."""

    rebuild: RebuildSessions
    retire: Retire
    quotas: TellQuotas

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

    async def SetQuota(self, request: pb.SetQuotaRequest, context: Context) -> pb.SetQuotaResponse:
        """See the proto."""
        quota = await self.quotas.set(request.tenant, _quota(request.quota), request.update_mask.paths)
        return pb.SetQuotaResponse(quota=_to_proto(quota))

    async def GetQuota(self, request: pb.GetQuotaRequest, context: Context) -> pb.GetQuotaResponse:
        """See the proto."""
        quota, own, usage = await self.quotas.get(request.tenant)
        return pb.GetQuotaResponse(quota=_to_proto(quota), own=own, usage=pb.QuotaUsage(**asdict(usage)))

    async def ListQuotas(self, request: pb.ListQuotasRequest, context: Context) -> pb.ListQuotasResponse:
        """See the proto."""
        found = await self.quotas.all()
        return pb.ListQuotasResponse(
            quotas=[pb.TenantQuota(tenant=tenant, quota=_to_proto(quota)) for tenant, quota in found.items()]
        )


def _quota(asked: pb.Quota) -> Quota:
    names = [field.name for field in fields(Quota)]
    return Quota(**{name: getattr(asked, name) for name in names if asked.HasField(name)})  # type: ignore[arg-type]


def _to_proto(quota: Quota) -> pb.Quota:
    return pb.Quota(**asdict(quota))
