"""The services behind the gateway: which methods of theirs browsers may call, and how.

Messages stay bytes. A method is known from the contracts by its name and its shape; one that is added there is served
here with the next release.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from grpc_health.v1 import health_pb2

from gateway.settings import GatewaySettings
from milepost.blob.v1 import blob_service_pb2
from milepost.event.v1 import event_service_pb2
from milepost.options.v1 import options_pb2
from milepost.scenario.v1 import scenario_service_pb2, template_service_pb2
from milepost.session.v1 import session_service_pb2
from milepost.study.v1 import study_service_pb2
from runtime.grpc_server import MAX_MESSAGE_BYTES

# How long a service may take to say whether it is well, seconds.
HEALTH_TIMEOUT_S = 2.0

_SESSION_API = (
    session_service_pb2.DESCRIPTOR,
    scenario_service_pb2.DESCRIPTOR,
    template_service_pb2.DESCRIPTOR,
    study_service_pb2.DESCRIPTOR,
)
_EVENT_STORE = (event_service_pb2.DESCRIPTOR, blob_service_pb2.DESCRIPTOR)
_HEALTH = "/grpc.health.v1.Health/Check"
# Needs no session to exist, and no rights beyond being somebody.
_PROBE = "/milepost.session.v1.SessionService/ListSessions"
# No retries and no waiting: a browser's client does both itself, in sight of its user.
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    # What a browser does not read stays with the service, which so knows that it is slow.
    ("grpc.http2.bdp_probe", 0),
)


@dataclass(frozen=True, slots=True)
class Method:
    """One method that browsers may call. `call` is the channel's callable for its shape, of bytes to bytes."""

    name: str
    call: Any
    client_streaming: bool
    server_streaming: bool


class Upstream:
    """Both services. `methods` by path, `/package.Service/Method`."""

    def __init__(self, session_api: grpc.aio.Channel, event_store: grpc.aio.Channel, *, own_certificate: bool) -> None:
        self._channels = {"session_api": session_api, "event_store": event_store}
        self.methods: Mapping[str, Method] = {
            **_methods(session_api, _SESSION_API),
            **_methods(event_store, _EVENT_STORE),
        }
        self.own_certificate = own_certificate
        """The gateway shows the services a certificate: a call without a token would be made as the gateway itself."""

    async def health(self) -> dict[str, str]:
        """What each service says of itself, by name: SERVING, NOT_SERVING, or UNREACHABLE."""
        return {name: await _health(channel) for name, channel in self._channels.items()}

    async def asks_who_calls(self) -> bool:
        """Whether a call that proves nothing is refused. Raises AioRpcError while session_api does not answer."""
        try:
            await _ask(self._channels["session_api"], _PROBE)
        except grpc.aio.AioRpcError as refused:
            if refused.code() is grpc.StatusCode.UNAUTHENTICATED:
                return True
            raise
        return False


@asynccontextmanager
async def open_upstream(settings: GatewaySettings) -> AsyncIterator[Upstream]:
    """Channels to both services; they connect when they are first used. Raises OSError for an unreadable key."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(_channel(settings.session_api, settings))
        store = await stack.enter_async_context(_channel(settings.event_store, settings))
        yield Upstream(api, store, own_certificate=bool(settings.tls_ca and settings.tls_cert))


def _channel(address: str, settings: GatewaySettings) -> grpc.aio.Channel:
    """A channel that proves nothing of its own but by certificate: callers are whoever their token says."""
    if settings.tls_ca is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=settings.tls_ca.read_bytes(),
        private_key=settings.tls_key.read_bytes() if settings.tls_key else None,
        certificate_chain=settings.tls_cert.read_bytes() if settings.tls_cert else None,
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


def _methods(channel: grpc.aio.Channel, files: tuple[FileDescriptor, ...]) -> dict[str, Method]:
    """The methods of services, without those that are for services alone."""
    return {
        path: Method(
            name=path.lstrip("/").removeprefix("milepost."),
            call=_callable(channel, path, method),
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
        )
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
        if (path := f"/{service.full_name}/{method.name}")
        and method.GetOptions().Extensions[options_pb2.access] != options_pb2.ACCESS_SERVICE
    }


def _callable(channel: grpc.aio.Channel, path: str, method: MethodDescriptor) -> Any:
    match method.client_streaming, method.server_streaming:
        case False, False:
            return channel.unary_unary(path)
        case False, True:
            return channel.unary_stream(path)
        case True, False:
            return channel.stream_unary(path)
        case _:
            return channel.stream_stream(path)


async def _health(channel: grpc.aio.Channel) -> str:
    try:
        answer = await _ask(channel, _HEALTH)
    except grpc.aio.AioRpcError:
        return "UNREACHABLE"
    status = health_pb2.HealthCheckResponse.FromString(answer).status
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


async def _ask(channel: grpc.aio.Channel, path: str) -> bytes:
    """The answer to an empty request. Raises AioRpcError."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return await method(b"", timeout=HEALTH_TIMEOUT_S)
