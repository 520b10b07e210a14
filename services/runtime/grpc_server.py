"""A gRPC server of ours: calls intercepted, health per service, reflection, keep-alive, TLS, drained on stop."""

import ipaddress
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from runtime.authentication import Authentication
from runtime.grpc_calls import CallInterceptor, DatabaseAway
from runtime.settings import ServiceSettings

log = structlog.get_logger()

# The largest message either way; every larger thing travels in chunks.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A client behind a NAT that forgets may ping every 10 s, also without an open call.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Two servers on one port would share clients at random.
    ("grpc.so_reuseport", 0),
)


class OpenToEverybody(RuntimeError):
    """Served beyond this machine without authentication, and nobody said that this is meant."""


class GrpcServer:
    """A server that is being assembled, then serves.

    Register services on `.server`, then `await start(names)`; `.address` is where it serves. `database_away` tells
    which exceptions mean that the service's database does not answer, for those that have one.
    """

    def __init__(self, settings: ServiceSettings, database_away: DatabaseAway = lambda _: False) -> None:
        options = (*_OPTIONS, *_connection_options(settings))
        interceptor = CallInterceptor(Authentication(settings), database_away)
        self.server = grpc.aio.server(interceptors=[interceptor], options=options)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        self._settings = settings
        self._host, _, _ = settings.listen.rpartition(":")
        credentials = _credentials(settings)
        port = (
            self.server.add_secure_port(settings.listen, credentials)
            if credentials
            else self.server.add_insecure_port(settings.listen)
        )
        self.address = f"{self._host}:{port}"

    async def start(self, services: Sequence[str]) -> None:
        """Serve; `services` are full names (`milepost.event.v1.EventService`) for health and reflection.

        Raises OpenToEverybody.
        """
        if services and not self._settings.authenticates:
            if not is_loopback(self._host) and not self._settings.insecure:
                raise OpenToEverybody(
                    f"{self.address} can be reached from elsewhere, and there is no authentication: set up one "
                    "(docs/authentication.md), listen on 127.0.0.1, or set MILEPOST_INSECURE=1"
                )
            log.warning("no authentication: whoever connects may do everything", address=self.address)
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self.server)
        await self.server.start()
        for service in ("", *services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def unhealthy(self, service: str) -> None:
        """Report a service, and the server as a whole, as NOT_SERVING."""
        for name in ("", service):
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Report NOT_SERVING, refuse new calls, give open ones `grace_s` seconds."""
        await self._health.enter_graceful_shutdown()
        await self.server.stop(grace_s)


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine and nothing else."""
    name = host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """Certificate and key of this server, and whose clients it asks for certificates; None without TLS."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    authorities = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials(
        [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


def _connection_options(settings: ServiceSettings) -> Iterator[tuple[str, int]]:
    """Keep-alive always, ages only where they are limited."""
    yield "grpc.keepalive_time_ms", int(settings.keepalive_s * 1000)
    yield "grpc.keepalive_timeout_ms", int(settings.keepalive_timeout_s * 1000)
    # A minute, unless it is said as well; the keep-alive's own time-out does not fire while streams are written to.
    yield "grpc.http2.ping_timeout_ms", int(settings.keepalive_timeout_s * 1000)
    if settings.max_connection_age_s:
        yield "grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)
        yield "grpc.max_connection_age_grace_ms", int(settings.max_connection_age_grace_s * 1000)


@asynccontextmanager
async def serving(grpc_server: GrpcServer, services: Sequence[str], *, grace_s: float) -> AsyncIterator[None]:
    """Serve while the body runs."""
    await grpc_server.start(services)
    try:
        yield
    finally:
        await grpc_server.stop(grace_s)
