"""Settings of authentication and encryption, from `MILEPOST_<NAME>`; docs/authentication.md shows them in use.

None set: no authentication, and nothing is served but on loopback.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

# A shared key shorter than its digest can be guessed (RFC 7518, 3.2), bytes.
MIN_KEY_BYTES = 32


class AuthSettings(BaseSettings):
    """How callers prove who they are, and how this process proves it to the other services."""

    auth_shared_key: SecretStr | None = None
    """Key of HS256/384/512 tokens, at least 32 bytes."""
    auth_jwks: str = ""
    """Public keys of RS, PS, ES and EdDSA tokens: path of a JWKS file, or its URL."""
    auth_issuer: str = ""
    """Required `iss`; empty: any."""
    auth_audience: str = ""
    """Required `aud`; empty: tokens must not name one."""
    auth_tenant_claim: str = "tenant"
    """Claim that holds the tenant."""
    auth_roles_claim: str = "roles"
    """Claim that holds the roles, as a list or separated by blanks; `admin` is the only one there is."""
    auth_leeway_s: float = Field(default=30.0, ge=0, le=300)
    """How far clocks may differ, seconds."""
    auth_service_key: SecretStr | None = None
    """Key our services know each other by, at least 32 bytes, the same for all of them and for nobody else."""
    auth_open_services: str = "externalscaler.ExternalScaler"
    """gRPC services that need no token, besides health, separated by commas.

    KEDA cannot send tokens, and learns nothing but how many slots are wanted. A candidate is
    `grpc.reflection.v1alpha.ServerReflection`.
    """
    tls_cert: Path | None = None
    """Certificate chain (PEM) of this process, shown to clients and to other services."""
    tls_key: Path | None = None
    """Its private key (PEM)."""
    tls_client_ca: Path | None = None
    """Authorities (PEM) of client certificates. Set: whoever connects must have one (mutual TLS)."""
    tls_ca: Path | None = None
    """Authorities (PEM) of the other services' certificates. Set: they are called over TLS."""
    insecure: bool = False
    """Serve on any address without authentication."""

    @property
    def authenticates(self) -> bool:
        """Whether callers have to prove who they are."""
        return bool(self.auth_shared_key or self.auth_jwks or self.tls_client_ca)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("auth_shared_key", "auth_service_key"):
            key: SecretStr | None = getattr(self, name)
            if key is not None and len(key.get_secret_value().encode()) < MIN_KEY_BYTES:
                raise ValueError(f"MILEPOST_{name.upper()} has less than {MIN_KEY_BYTES} bytes")
        if self.auth_shared_key and self.auth_shared_key == self.auth_service_key:
            raise ValueError("MILEPOST_AUTH_SERVICE_KEY is the users' key: users could speak as services")
        if (self.auth_shared_key or self.auth_jwks) and not (self.auth_service_key or self.tls_client_ca):
            raise ValueError("services need MILEPOST_AUTH_SERVICE_KEY, or certificates, to know each other by")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("MILEPOST_TLS_CERT and MILEPOST_TLS_KEY go together")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("MILEPOST_TLS_CLIENT_CA needs MILEPOST_TLS_CERT")
        return self
