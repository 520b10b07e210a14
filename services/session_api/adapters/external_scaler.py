"""`externalscaler.ExternalScaler`, KEDA's contract, over the use case."""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from externalscaler import externalscaler_pb2 as pb
from externalscaler.externalscaler_pb2_grpc import ExternalScalerServicer
from session_api.application.scale_pool import ScalePool
from session_api.domain.scaling import ScaledPool

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name


@dataclass(frozen=True)
class ExternalScalerAdapter(ExternalScalerServicer):
    """Translates; see the proto for what each call promises."""

    scale: ScalePool

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        """See the proto."""
        pool = self.scale.pool(request.scalerMetadata)
        return pb.IsActiveResponse(result=await self.scale.wanted(pool.pool) > 0)

    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: Context) -> AsyncIterator[pb.IsActiveResponse]:
        """See the proto."""
        async for active in self.scale.active(self.scale.pool(request.scalerMetadata)):
            yield pb.IsActiveResponse(result=active)

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Context) -> pb.GetMetricSpecResponse:
        """See the proto."""
        return _spec(self.scale.pool(request.scalerMetadata))

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        """See the proto."""
        pool = self.scale.pool(request.scaledObjectRef.scalerMetadata, request.metricName)
        slots = await self.scale.wanted(pool.pool)
        value = pb.MetricValue(metricName=pool.metric, metricValue=slots, metricValueFloat=slots)
        return pb.GetMetricsResponse(metricValues=[value])

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """See the proto."""
        yield _spec(self.scale.pool(request.scalerMetadata))
        await self.scale.stay()


def _spec(pool: ScaledPool) -> pb.GetMetricSpecResponse:
    target = pb.MetricSpec(
        metricName=pool.metric, targetSize=math.ceil(pool.slots_per_worker), targetSizeFloat=pool.slots_per_worker
    )
    return pb.GetMetricSpecResponse(metricSpecs=[target])
