"""Who asks: carried with a call from the interceptor that proved it to the adapter that needs the tenant.

    token or certificate ─► authentication.py ─► Identity ─► contextvar ─► adapters: tenant, subject
                                                                      └──► channels.py: what is called on its behalf

A task inherits the identity it was created under, so whatever is done for a call is done in its name.
"""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused

ADMIN = "admin"
"""Role of who runs the installation."""
SERVICE = "service"
"""Role of our own services: they name the tenant of each call themselves."""
TENANT_METADATA = "milepost-tenant"
"""Metadata key by which a service names the tenant it calls for."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `subject` is who it says it is, empty without authentication; a service may call for no tenant."""

    of_tenant: str
    subject: str = ""
    roles: frozenset[str] = field(default_factory=frozenset)
    until: float = math.inf
    """When its proof is none any more, Unix time. Of our own services never: they prove themselves with each call."""

    @property
    def tenant(self) -> str:
        """The tenant the call is about. Raises CallRefused(NOT_PERMITTED) where a service named none."""
        if not self.of_tenant:
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_PERMITTED, f"a service names the tenant of its call in {TENANT_METADATA}"
            )
        return self.of_tenant

    def has(self, role: str) -> bool:
        """Whether it has a role."""
        return role in self.roles


_current: ContextVar[Identity | None] = ContextVar("milepost_identity", default=None)


def caller() -> Identity:
    """Who makes the present call. Raises LookupError outside of one."""
    identity = _current.get()
    if identity is None:
        raise LookupError("no call is being served")
    return identity


def acting_tenant() -> str:
    """The tenant on whose behalf something is done now; empty for nobody's."""
    identity = _current.get()
    return identity.of_tenant if identity else ""


def serve_as(identity: Identity) -> None:
    """Say who makes the call that this task serves."""
    _current.set(identity)


@contextlib.contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Do what stands in the body on behalf of a tenant, in this task and those it creates."""
    token = _current.set(Identity(tenant))
    try:
        yield
    finally:
        _current.reset(token)
