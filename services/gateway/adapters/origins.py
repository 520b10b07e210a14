"""Whose pages may call: a browser sends with every call the origin of the page that makes it.

Same origin always; others when they are allowed by name. That a page elsewhere cannot do anything in its reader's
name does not rest on cookies, there are none: it has to, because without authentication whoever reaches the gateway may
do everything. While it listens on loopback it also has to be called by a name of this machine, or else a page could
have its own name lead here (DNS rebinding) and be of the same origin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from runtime.grpc_server import is_loopback

# How long a browser may remember what a page is allowed, seconds; Chromium's limit.
_PREFLIGHT_S = 7200
_REQUEST_HEADERS = (
    "authorization, content-type, grpc-timeout, milepost-tenant, traceparent, tracestate, x-grpc-web, x-user-agent"
)

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Origins:
    """`allowed` origins besides the gateway's own, `*` being all; `hosts` it may be called by, None: any."""

    allowed: frozenset[str]
    hosts: frozenset[str] | None

    def refuses(self, headers: Mapping[str, str]) -> str:
        """Why a request is refused; empty: it is not."""
        host = headers.get("host", "").lower()
        if self.hosts is not None and not is_loopback(_name(host)) and _name(host) not in self.hosts:
            return f"this gateway is not called {host!r} (MILEPOST_ALLOWED_HOSTS)"
        origin = headers.get("origin", "").lower()
        if origin and not self._allows(origin) and origin not in (f"http://{host}", f"https://{host}"):
            return f"pages of {origin!r} may not call (MILEPOST_ALLOWED_ORIGINS)"
        return ""

    def permission(self, headers: Mapping[str, str]) -> Headers:
        """What tells the browser that a page may read the answer to a request that was not refused."""
        origin = headers.get("origin")
        if origin is None or not self._allows(origin.lower()):
            return ((b"vary", b"origin"),)
        return (
            (b"vary", b"origin"),
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-expose-headers", b"grpc-status, grpc-message, grpc-status-details-bin"),
        )

    def preflight(self, headers: Mapping[str, str]) -> Headers:
        """What tells the browser that a page may make the call it asks about."""
        return (
            *self.permission(headers),
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", _REQUEST_HEADERS.encode()),
            (b"access-control-max-age", str(_PREFLIGHT_S).encode()),
        )

    def _allows(self, origin: str) -> bool:
        return origin in self.allowed or "*" in self.allowed


def _name(host: str) -> str:
    """A Host header without its port; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
