"""Keeps the projection level with the store: WatchAllEvents of all tenants from the place reached, for ever."""

import asyncio

import grpc
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError

from milepost.event.v1.event_service_pb2 import WatchAllEventsRequest
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from session_api.application.projection_lag import ProjectionLag
from session_api.gateways.sessions_sql import Sessions

log = structlog.get_logger()
_heard = Gauge("milepost_projection_heard_timestamp_seconds", "When the store was heard last, Unix time")
_applied = Counter("milepost_projection_events_total", "Events applied to the projection of sessions")

# The store sends at least an empty message every 5 s; after this long the stream counts as dead, seconds.
SILENCE_S = 15.0
_RETRY_WAIT_S = 0.5


async def follow_store(store: EventServiceStub, sessions: Sessions, lag: ProjectionLag) -> None:
    """Run until cancelled; begins again at the place in the database whatever breaks."""
    while True:
        try:
            await _follow_once(store, sessions, lag)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            reason = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "silence"
            log.warning("feed broke off", reason=reason)
        except SQLAlchemyError as error:
            log.warning("database does not answer", error=repr(error))
        await asyncio.sleep(_RETRY_WAIT_S)


async def _follow_once(store: EventServiceStub, sessions: Sessions, lag: ProjectionLag) -> None:
    call = store.WatchAllEvents(WatchAllEventsRequest(after_position=await sessions.position(), all_tenants=True))
    try:
        responses = aiter(call)
        while True:
            async with asyncio.timeout(SILENCE_S):
                response = await anext(responses, None)
            if response is None:
                return
            _heard.set_to_current_time()
            if response.events:
                await sessions.apply(
                    [(stored.tenant, stored.event) for stored in response.events], position=response.position
                )
                _applied.inc(len(response.events))
            if response.caught_up:
                lag.level()
    finally:
        call.cancel()
