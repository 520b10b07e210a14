"""What the gateway is made of."""

import asyncio

import grpc
import structlog

from gateway.adapters.calls import Calls
from gateway.adapters.console import read_console
from gateway.adapters.http import Http
from gateway.adapters.origins import Origins
from gateway.adapters.web_server import web_serving
from gateway.gateways.upstream import Upstream, open_upstream
from gateway.settings import GatewaySettings
from runtime.grpc_server import OpenToEverybody, is_loopback
from runtime.process import Lifetime, cancel, run_service

log = structlog.get_logger()
# How often a service that is away is asked again whether it wants to know who calls, seconds.
_ASK_AGAIN_S = 0.5


async def serve(settings: GatewaySettings, lifetime: Lifetime) -> None:
    """Serve until asked to stop."""
    on_loopback = is_loopback(settings.listen.rpartition(":")[0])
    async with open_upstream(settings) as upstream:
        if not on_loopback and not settings.insecure and not await _closed(upstream, settings, lifetime.stop):
            return
        application = Http(
            upstream,
            Calls(lifetime.stop, token_required=upstream.own_certificate),
            Origins(settings.origins, settings.hosts if on_loopback else None),
            read_console(settings.console),
        )
        async with web_serving(application, settings.listen, grace_s=settings.drain_s) as address:
            lifetime.ready(address)
            await lifetime.stop.wait()


async def _closed(upstream: Upstream, settings: GatewaySettings, stop: asyncio.Event) -> bool:
    """Wait until it is known that the services ask who calls; False when asked to stop before. Raises OpenToEverybody.

    The gateway would open to everybody what a service itself serves on loopback alone.
    """
    stopping = asyncio.create_task(stop.wait(), name="stopping")
    try:
        while not stopping.done():
            try:
                if await upstream.asks_who_calls():
                    return True
            except grpc.aio.AioRpcError as away:
                log.warning("session_api does not answer yet", status=away.code().name, details=away.details())
                await asyncio.wait({stopping}, timeout=_ASK_AGAIN_S)
            else:
                raise OpenToEverybody(
                    f"{settings.listen} can be reached from elsewhere, and the services behind it ask nobody who "
                    "calls: set up authentication "
                    "(docs/authentication.md), listen on 127.0.0.1, or set MILEPOST_INSECURE=1"
                )
        return False
    finally:
        await cancel(stopping)


def main() -> None:
    """Run the service."""
    run_service("gateway", GatewaySettings, serve)
