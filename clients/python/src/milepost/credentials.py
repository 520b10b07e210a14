"""How a client proves who it is: a bearer token, a certificate, or both; and how it knows the server."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Nothing set: no encryption and no proof, as `milepost up` serves it.

    A token without `tls_ca` travels in the clear: on this machine, or where something else encrypts.
    """

    token: str = ""
    """Bearer token (JWT)."""
    tls_ca: Path | None = None
    """Authorities (PEM) of the servers' certificates. Set: connect over TLS."""
    tls_cert: Path | None = None
    """This client's certificate chain (PEM)."""
    tls_key: Path | None = None
    """Its private key (PEM)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From MILEPOST_TOKEN, MILEPOST_TLS_CA, MILEPOST_TLS_CERT and MILEPOST_TLS_KEY."""

        def path(name: str) -> Path | None:
            value = environment.get(f"MILEPOST_{name}")
            return Path(value) if value else None

        return cls(environment.get("MILEPOST_TOKEN", ""), path("TLS_CA"), path("TLS_CERT"), path("TLS_KEY"))

    def open_channel(
        self,
        address: str,
        options: tuple[tuple[str, Any], ...],
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """A channel to `host:port` whose calls carry the proof. Raises OSError for a file that cannot be read."""
        if self.tls_ca is None:
            channel = grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
        else:
            credentials = grpc.ssl_channel_credentials(
                root_certificates=self.tls_ca.read_bytes(),
                private_key=self.tls_key.read_bytes() if self.tls_key else None,
                certificate_chain=self.tls_cert.read_bytes() if self.tls_cert else None,
            )
            channel = grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)
        return _Signed(channel, (("authorization", f"Bearer {self.token}"),)) if self.token else channel


class _Signed(grpc.aio.Channel):
    """A channel that adds metadata to every call.

    Neither interceptors, which put a queue between a stream and its reader, nor call credentials, which gRPC sends over
    TLS only.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._channel, self._metadata = channel, metadata

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
            return callable_(request, metadata=(*metadata, *self._metadata), **options)

        return call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
