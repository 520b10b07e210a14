"""Who makes a call, and whether it may: a token or a client certificate, and the `access` option of the method.

A certificate reads like those of Kubernetes, each part of its subject once or more:

    CN  who it is        O  the tenant        OU  roles: `admin`, or `service` for our own

A token, where there is one, goes before the certificate: a gateway with a certificate may pass users' tokens on.
"""

import functools
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID
from google.protobuf.descriptor_pool import Default

from milepost.errors.v1 import errors_pb2
from milepost.options.v1 import options_pb2
from runtime.auth_settings import AuthSettings
from runtime.errors import CallRefused
from runtime.identity import ADMIN, SERVICE, TENANT_METADATA, Identity
from runtime.settings import DEFAULT_TENANT
from runtime.tokens import TENANT_PATTERN, Tokens, not_authenticated

Context = grpc.aio.ServicerContext[Any, Any]

HEALTH = "grpc.health.v1.Health"
_BEARER = "bearer "
_ROLES = {options_pb2.ACCESS_ADMIN: ADMIN, options_pb2.ACCESS_SERVICE: SERVICE}
_ANYBODY = Identity(DEFAULT_TENANT, roles=frozenset({ADMIN, SERVICE}))
# Who calls a service that asks for no proof.
_NOBODY = Identity("")


class Authentication:
    """Tells who makes a call."""

    def __init__(self, settings: AuthSettings) -> None:
        self._required = settings.authenticates
        self._certificates = settings.tls_client_ca is not None
        self._tokens = Tokens(settings)
        self._open = {HEALTH, *(name.strip() for name in settings.auth_open_services.split(","))}

    def is_open(self, method: str) -> bool:
        """Whether a method (`/package.Service/Method`) needs no proof."""
        return not self._required or method.split("/")[1] in self._open

    async def __call__(self, method: str, context: Context) -> Identity:
        """Who calls a method. Raises CallRefused: NOT_AUTHENTICATED, NOT_PERMITTED, KEYS_UNAVAILABLE."""
        if self._required and self.is_open(method):
            return _NOBODY
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        if not self._required:
            identity = _ANYBODY
        elif self.is_open(method):
            # Of no tenant: such a service has nothing of any.
            identity = Identity("")
        else:
            identity = await self._proven(metadata, context)
        role = _role_needed(method)
        if role is not None and not identity.has(role):
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_PERMITTED, f"{method} needs the role {role!r}", metadata={"role": role}
            )
        return _for_tenant(identity, metadata.get(TENANT_METADATA))

    async def _proven(self, metadata: dict[str, str], context: Context) -> Identity:
        authorization = metadata.get("authorization", "")
        if authorization:
            if authorization[: len(_BEARER)].lower() != _BEARER:
                raise not_authenticated("malformed", "authorization is not `Bearer <token>`")
            return await self._tokens.identity(authorization[len(_BEARER) :].strip())
        if self._certificates:
            return _of_certificate(b"".join(context.auth_context().get("x509_pem_cert", ())))
        raise not_authenticated("missing", "the call has no token: send `authorization: Bearer <token>`")


def require_valid_still(identity: Identity) -> None:
    """For what goes on for long. Raises CallRefused(NOT_AUTHENTICATED) once the proof at its begin has expired."""
    if time.time() > identity.until:
        raise not_authenticated("expired", "what proved who you are has expired: go on with a new one")


def _for_tenant(identity: Identity, named: str | None) -> Identity:
    if named is None:
        return identity
    if not identity.has(SERVICE):
        raise CallRefused(errors_pb2.ERROR_REASON_NOT_PERMITTED, f"only services of Milepost send {TENANT_METADATA}")
    if not TENANT_PATTERN.fullmatch(named):
        raise CallRefused(errors_pb2.ERROR_REASON_NOT_PERMITTED, f"{TENANT_METADATA} names no tenant")
    return replace(identity, of_tenant=named)


@functools.cache
def _role_needed(method: str) -> str | None:
    """The role that the contract asks for."""
    _, service, name = method.split("/")
    try:
        found = Default().FindServiceByName(service)
        own = found.methods_by_name[name].GetOptions().Extensions[options_pb2.access]
    except KeyError:
        return None
    return _ROLES.get(own or found.GetOptions().Extensions[options_pb2.service_access])


@functools.lru_cache(maxsize=1024)
def _of_certificate(pem: bytes) -> Identity:
    if not pem:
        raise not_authenticated("missing", "the call has neither token nor certificate")
    certificate = x509.load_pem_x509_certificate(pem)
    subject = certificate.subject

    def parts(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(attribute.value) for attribute in subject.get_attributes_for_oid(oid)]

    names, tenants = parts(NameOID.COMMON_NAME), parts(NameOID.ORGANIZATION_NAME)
    roles = _known(parts(NameOID.ORGANIZATIONAL_UNIT_NAME))
    if SERVICE in roles:
        return Identity("", "".join(names[:1]), roles | {ADMIN})
    if not names or len(tenants) != 1 or not TENANT_PATTERN.fullmatch(tenants[0]):
        raise not_authenticated("tenant", "the certificate names no tenant (O), or not who it is for (CN)")
    return Identity(tenants[0], names[0], roles, certificate.not_valid_after_utc.timestamp())


def _known(roles: Iterable[str]) -> frozenset[str]:
    return frozenset({ADMIN, SERVICE} & set(roles))
