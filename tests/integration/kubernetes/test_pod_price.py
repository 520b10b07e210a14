"""A worker says to Kubernetes what it would cost to delete its pod: an HTTPS server plays the API server."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from eventually import eventually
from sim_worker.application.price_pod import PricePod
from sim_worker.gateways.own_pod import OwnPod, PodNotPatched

CONTROLLER = "controller.kubernetes.io"
POD, NAMESPACE, TOKEN = "worker-5d8-x2x", "traffic", "first-token"


class ApiServer:
    """Knows one token and keeps what it was asked. `answers` is the status of what it answers."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.token, self.answers = TOKEN, 200
        self.patches: list[tuple[str, str, Any]] = []
        server = self

        class Requests(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                known = self.headers["Authorization"] == f"Bearer {server.token}"
                status = server.answers if known else 401
                if status == 200:
                    server.patches.append((self.path, self.headers["Content-Type"], body))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"{}" if status == 200 else b'{"message": "forbidden"}')

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def costs(self) -> list[str]:
        return [body["metadata"]["annotations"][f"{CONTROLLER}/pod-deletion-cost"] for _, _, body in self.patches]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account as Kubernetes mounts it; the server's key lies beside."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "namespace").write_text(NAMESPACE)
    return tmp_path


@pytest.fixture
def server(account: Path) -> Iterator[ApiServer]:
    running = ApiServer(account / "ca.crt", account / "key.pem")
    yield running
    running.close()


@contextlib.asynccontextmanager
async def priced(pod: OwnPod, sessions: list[str]) -> AsyncIterator[asyncio.Task[None]]:
    pricing = asyncio.create_task(PricePod(pod, lambda: len(sessions), period_s=0.02)())
    try:
        yield pricing
    finally:
        pricing.cancel()


async def test_the_price_of_a_pod_follows_its_sessions(
    account: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    sessions: list[str] = []
    async with priced(OwnPod(POD, service_account=account), sessions):
        await eventually(lambda: server.costs == ["0"])
        sessions += ["a", "b"]
        await eventually(lambda: server.costs == ["0", "2"])
        sessions.clear()
        await eventually(lambda: server.costs == ["0", "2", "0"])
    path, content_type, _ = server.patches[0]
    assert path == f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}"
    assert content_type == "application/merge-patch+json"


async def test_a_price_that_cannot_be_written_is_said_once_and_written_later(account: Path, server: ApiServer) -> None:
    server.answers = 403
    with capture_logs() as logs:
        async with priced(OwnPod(POD, f"https://127.0.0.1:{server.port}", account), ["a"]) as pricing:
            await eventually(lambda: logs)
            server.token, server.answers = "renewed", 200
            # Refused for another reason, and said again.
            await eventually(lambda: len(logs) == 2)
            (account / "token").write_text("renewed")
            await eventually(lambda: server.costs == ["1"])
            assert not pricing.done()
    assert [("403" in line["because"], "401" in line["because"]) for line in logs] == [(True, False), (False, True)]


async def test_whoever_cannot_show_that_it_is_the_api_server_gets_no_token(account: Path, server: ApiServer) -> None:
    # Its certificate is for an address, not for this name.
    pod = OwnPod(POD, f"https://localhost:{server.port}", account)
    with pytest.raises(PodNotPatched, match=r"(?i)certificate"):
        await pod.set_deletion_cost(1)
    assert server.patches == []


async def test_outside_of_kubernetes_a_price_is_refused_and_not_fatal(
    tmp_path: Path, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for pod in (OwnPod(POD, service_account=tmp_path / "nothing"), OwnPod(POD, service_account=account)):
        with pytest.raises(PodNotPatched):
            await pod.set_deletion_cost(1)
