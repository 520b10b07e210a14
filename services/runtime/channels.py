"""Channels to our own services: they wait for a service that is restarting instead of failing at once.

Every call says who calls (a service's token, or the channel's certificate) and, where it is made on behalf of a
tenant, for which (identity.py).
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from runtime.auth_settings import AuthSettings
from runtime.grpc_server import MAX_MESSAGE_BYTES
from runtime.identity import TENANT_METADATA, acting_tenant
from runtime.tokens import ServiceToken

_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "waitForReady": True,
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
_OPTIONS = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

Metadata = tuple[tuple[str, str], ...]


@asynccontextmanager
async def open_channel(address: str, settings: AuthSettings, *, service: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `host:port`, for `service`. Every call needs a time-out: until then it waits for the server."""
    credentials = _credentials(settings)
    channel = (
        grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        if credentials
        else grpc.aio.insecure_channel(address, options=_OPTIONS)
    )
    token = ServiceToken(settings.auth_service_key.get_secret_value(), service) if settings.auth_service_key else None
    async with channel:
        yield _Signed(channel, token)


def for_tenant(tenant: str) -> Metadata:
    """Metadata of a call that is made on behalf of a tenant, whoever this task acts for."""
    return ((TENANT_METADATA, tenant),)


def _credentials(settings: AuthSettings) -> grpc.ChannelCredentials | None:
    if settings.tls_ca is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=settings.tls_ca.read_bytes(),
        private_key=settings.tls_key.read_bytes() if settings.tls_key else None,
        certificate_chain=settings.tls_cert.read_bytes() if settings.tls_cert else None,
    )


class _Signed(grpc.aio.Channel):
    """A channel whose calls say who makes them.

    No interceptors: those of grpc.aio put a queue and two tasks of their own between a stream and its reader.
    """

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[], str] | None) -> None:
        self._channel, self._token = channel, token

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """As the channel's."""
        return self._signed(self._channel.unary_unary(*method, **options))

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """As the channel's."""
        return self._signed(self._channel.unary_stream(*method, **options))

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """As the channel's."""
        return self._signed(self._channel.stream_unary(*method, **options))

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        """As the channel's."""
        return self._signed(self._channel.stream_stream(*method, **options))

    def _signed(self, callable_: Any) -> Any:
        def call(request: Any, *, metadata: Metadata = (), **options: Any) -> Any:
            return callable_(request, metadata=self._with_caller(metadata), **options)

        return call

    def _with_caller(self, metadata: Metadata) -> Metadata:
        if TENANT_METADATA not in dict(metadata) and (tenant := acting_tenant()):
            metadata = (*metadata, (TENANT_METADATA, tenant))
        if self._token is not None:
            metadata = (*metadata, ("authorization", f"Bearer {self._token()}"))
        return metadata

    async def __aenter__(self) -> "_Signed":
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def close(self, grace: float | None = None) -> None:
        """As the channel's."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's
        """As the channel's."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As the channel's."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As the channel's."""
        await self._channel.channel_ready()
