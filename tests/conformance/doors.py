"""Ways to the servers other than straight to them.

proxy    what stands between everybody and the servers, and tears connections down
own      the same for one language alone
tls      encrypted, as behind a balancer; a certificate of an authority made for this run
"""

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resilience.proxy import Proxy

_DAY = datetime.timedelta(days=1)
_SERVERS = {"server": "session_api", "event_store": "event_store", "gateway": "gateway"}


@dataclass(frozen=True)
class Door:
    """A proxy for each server, by its name in the ready file."""

    proxies: Mapping[str, Proxy]
    scheme: str = "http"

    @property
    def target(self) -> dict[str, str]:
        """The proxies, as a step's Target."""
        found = {name: self.proxies[of].address for name, of in _SERVERS.items() if of in self.proxies}
        return found | ({"gateway": f"{self.scheme}://{found['gateway']}"} if "gateway" in found else {})


@asynccontextmanager
async def opened(ready: Mapping[str, str], encrypting: ssl.SSLContext | None = None) -> AsyncIterator[Door]:
    """A door to the servers of a ready file."""
    proxies = {}
    async with AsyncExitStack() as held:
        for name in _SERVERS.values():
            if name in ready:
                proxies[name] = await held.enter_async_context(Proxy().listening(encrypting))
                proxies[name].target = ready[name].removeprefix("http://").rstrip("/")
        yield Door(proxies, scheme="https" if encrypting else "http")


class Authority:
    """Signs the certificate of this machine's loopback."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conformance")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        signed = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.pem = signed.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self._folder = folder

    def context(self) -> ssl.SSLContext:
        """For a server on 127.0.0.1 that speaks HTTP/2."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "milepost")])
        named = self._builder(subject, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        both = self._folder / "server.pem"
        certificate = named.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        both.write_bytes(certificate + key.private_bytes(*form))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(both)
        made.set_alpn_protocols(["h2"])
        return made

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        named = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        return named.serial_number(x509.random_serial_number()).not_valid_before(now - _DAY).not_valid_after(now + _DAY)
