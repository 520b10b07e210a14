"""Settings of the gateway, from `MILEPOST_<NAME>`.

Who calls is proven to the services, not to the gateway: it passes the `authorization` header on and needs no key.
"""

from pathlib import Path

from runtime.settings import ServiceSettings

# Where `make console` puts the console's files.
_CONSOLE = Path(__file__).with_name("console")


class GatewaySettings(ServiceSettings):
    """See ServiceSettings; of those for authentication only `tls_ca`, `tls_cert` and `tls_key` are looked at.

    They are for the connections to the services. Browsers are served in the clear: on this machine, or behind
    something that encrypts (and so can speak HTTP/2 with them, without which a browser has six streams per host).
    """

    listen: str = "127.0.0.1:7402"
    """Address browsers are served on, `host:port`; port 0 takes any free one."""
    metrics_listen: str = "127.0.0.1:9402"
    session_api: str = "127.0.0.1:7400"
    """Address of session_api."""
    event_store: str = "127.0.0.1:7401"
    """Address of event_store."""
    allowed_origins: str = ""
    """Origins whose pages may call, besides the gateway's own, separated by commas: `https://city.example`.

    `*`: all; only where callers have to prove who they are, or nobody but you can get here.
    """
    allowed_hosts: str = ""
    """Names besides `localhost` it may be called by while it listens on loopback, separated by commas."""
    console: Path = _CONSOLE
    """Folder of the page that is served at `/`."""

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins one by one."""
        return _parts(self.allowed_origins)

    @property
    def hosts(self) -> frozenset[str]:
        """The allowed hosts one by one."""
        return _parts(self.allowed_hosts)


def _parts(text: str) -> frozenset[str]:
    return frozenset(part.strip().rstrip("/").lower() for part in text.split(",") if part.strip())
