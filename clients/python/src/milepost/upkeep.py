"""Upkeep: what is kept, what goes, what is made anew (docs/retention.md)."""

from collections.abc import Mapping

from google.protobuf.field_mask_pb2 import FieldMask

from milepost.admin.v1.admin_service_pb2 import (
    ApplyRetentionRequest,
    ApplyRetentionResponse,
    CleanUpRequest,
    CleanUpResponse,
    GetQuotaRequest,
    GetQuotaResponse,
    ListQuotasRequest,
    Quota,
    RebuildSessionsRequest,
    RebuildSessionsResponse,
    SetQuotaRequest,
)
from milepost.admin.v1.admin_service_pb2_grpc import SessionAdminServiceStub, StoreAdminServiceStub
from milepost.connection import Connection

# How long one call may take, seconds: a rebuild reads every log.
UPKEEP_TIMEOUT_S = 3600.0


class Upkeep:
    """For who runs a server. All of it may be called again at any time."""

    def __init__(self, api: Connection, store: Connection) -> None:
        self._api, self._store = api, store
        self._sessions = SessionAdminServiceStub(api.channel)
        self._stored = StoreAdminServiceStub(store.channel)

    async def clean_up(self, *, dry_run: bool = False) -> CleanUpResponse:
        """Drop deleted sessions, cut earlier runs, erase what nothing keeps. Raises Unavailable."""
        request = CleanUpRequest(dry_run=dry_run)
        return await self._store.call(lambda _: self._stored.CleanUp(request, timeout=UPKEEP_TIMEOUT_S))

    async def apply_retention(self, *, dry_run: bool = False) -> ApplyRetentionResponse:
        """Delete ended sessions whose time is over. Raises Unavailable."""
        request = ApplyRetentionRequest(dry_run=dry_run)
        return await self._api.call(lambda _: self._sessions.ApplyRetention(request, timeout=UPKEEP_TIMEOUT_S))

    async def rebuild(self) -> RebuildSessionsResponse:
        """Make the projection of sessions anew, from their logs. Raises Unavailable."""
        request = RebuildSessionsRequest()
        return await self._api.call(lambda _: self._sessions.RebuildSessions(request, timeout=UPKEEP_TIMEOUT_S))

    async def set_quota(self, tenant: str, limits: Mapping[str, int | None]) -> Quota:
        """Set limits of a tenant (empty: of all without their own) by their names in Quota; None lifts one.

        Returns all limits as they are now. Raises InvalidArgument, Unavailable.
        """
        quota = Quota(**{name: limit for name, limit in limits.items() if limit is not None})
        request = SetQuotaRequest(tenant=tenant, quota=quota, update_mask=FieldMask(paths=list(limits)))
        return (await self._api.call(lambda left_s: self._sessions.SetQuota(request, timeout=left_s))).quota

    async def quota(self, tenant: str) -> GetQuotaResponse:
        """The quota in force for a tenant, and what it uses. Raises Unavailable."""
        request = GetQuotaRequest(tenant=tenant)
        return await self._api.call(lambda left_s: self._sessions.GetQuota(request, timeout=left_s))

    async def quotas(self) -> dict[str, Quota]:
        """The quotas that were set, by tenant; the default's is empty. Raises Unavailable."""
        request = ListQuotasRequest()
        answer = await self._api.call(lambda left_s: self._sessions.ListQuotas(request, timeout=left_s))
        return {one.tenant: one.quota for one in answer.quotas}
