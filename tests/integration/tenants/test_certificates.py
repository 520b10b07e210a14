"""Certificates: over TLS only those of the authority get in, and each is who its subject says."""

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from belongings import TINY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from guarded_stack import USERS_KEY, serving, token
from running_store import running_store

from broker import running_broker
from databases import KINDS, chosen, url_of
from milepost.client import Milepost
from milepost.credentials import Credentials
from milepost.exceptions import Denied, NotFound, Unavailable
from milepost.session.v1.session_pb2 import SessionSpec
from session_api.settings import SessionApiSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")
_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._name, self._key.public_key())
        signed = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name: str, *, tenant: str = "", unit: str = "") -> Credentials:
        """A certificate of this subject, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [(NameOID.COMMON_NAME, common_name), (NameOID.ORGANIZATION_NAME, tenant)]
        parts += [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
        here = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        signed = self._builder(subject, key.public_key()).add_extension(here, critical=False)
        certificate, private = self._folder / f"{common_name}.crt", self._folder / f"{common_name}.key"
        certificate.write_bytes(signed.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(*form))
        return Credentials(tls_ca=self.file, tls_cert=certificate, tls_key=private)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        named = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        return named.serial_number(x509.random_serial_number()).not_valid_before(now - _DAY).not_valid_after(now + _DAY)


class Encrypted:
    """A stack that asks for certificates."""

    def __init__(self, authority: Authority, folder: Path, api: str, store: str) -> None:
        self.authority, self.folder = authority, folder
        self._addresses = tuple(f"localhost:{address.rpartition(':')[2]}" for address in (api, store))

    def connect(self, credentials: Credentials):
        return Milepost.connect(*self._addresses, credentials=credentials, retry_for_s=1.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encrypted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Encrypted]:
    """No service key: services know each other by their certificates, too."""
    folder = tmp_path_factory.mktemp("encrypted")
    authority = Authority(folder, "authority")

    def settings(service: str) -> dict[str, object]:
        own = authority.issue(service, unit="service")
        return {
            "auth_shared_key": USERS_KEY,
            "tls_cert": own.tls_cert,
            "tls_key": own.tls_key,
            "tls_ca": authority.file,
            "tls_client_ca": authority.file,
        }

    with chosen(KINDS[0]):
        async with (
            running_broker(folder / "broker") as broker,
            running_store(folder / "store", broker.url, **settings("event_store")) as store,
        ):
            wanted = SessionApiSettings(
                nats_url=broker.url,
                listen="127.0.0.1:0",
                metrics_listen="127.0.0.1:0",
                database_url=url_of(folder / "api.db"),
                event_store=f"localhost:{store.address.rpartition(':')[2]}",
                ready_file=folder / "api.json",
                **settings("session_api"),
            )
            async with serving(wanted) as api:
                yield Encrypted(authority, folder, api, store.address)


async def test_a_certificate_says_who_one_is_and_of_which_tenant(encrypted: Encrypted) -> None:
    ada, eve = (encrypted.authority.issue(name, tenant=tenant) for name, tenant in (("ada", "north"), ("eve", "south")))
    async with encrypted.connect(ada) as client:
        scenario = await client.scenarios.upload(TINY)
        session = await client.sessions.create(SessionSpec(scenario_digest=scenario.digest), create_only=True)
        assert (session.owner, scenario.owner) == ("ada", "ada")
        with pytest.raises(Denied, match="admin"):
            await client.upkeep.clean_up(dry_run=True)
    async with encrypted.connect(eve) as client:
        with pytest.raises(NotFound):
            await client.sessions.get(session.session_id)
    async with encrypted.connect(encrypted.authority.issue("root", tenant="ops", unit="admin")) as client:
        await client.upkeep.clean_up(dry_run=True)


async def test_a_token_goes_before_the_certificate(encrypted: Encrypted) -> None:
    gateway = encrypted.authority.issue("gateway", tenant="edge")
    said = Credentials(token("bob", tenant="north"), gateway.tls_ca, gateway.tls_cert, gateway.tls_key)
    async with encrypted.connect(said) as client:
        assert (await client.scenarios.upload(TINY)).owner in {"ada", "bob"}


async def test_whoever_has_no_certificate_of_the_authority_does_not_get_in(encrypted: Encrypted) -> None:
    other = Authority(encrypted.folder, "other").issue("mallory", tenant="north")
    forged = Credentials(tls_ca=encrypted.authority.file, tls_cert=other.tls_cert, tls_key=other.tls_key)
    for credentials in (forged, Credentials(tls_ca=encrypted.authority.file), Credentials()):
        async with encrypted.connect(credentials) as client:
            with pytest.raises(Unavailable):
                await client.sessions.get("s")


@pytest.mark.parametrize(("name", "tenant"), [("nobody", ""), ("dotted", "north.south"), ("starred", "*")])
async def test_a_certificate_without_a_tenant_is_refused(encrypted: Encrypted, name: str, tenant: str) -> None:
    async with encrypted.connect(encrypted.authority.issue(name, tenant=tenant)) as client:
        with pytest.raises(Denied) as denied:
            await client.sessions.get("s")
    assert denied.value.metadata == {"rule": "tenant"}
