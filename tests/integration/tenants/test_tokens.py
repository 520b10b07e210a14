"""Which tokens and certificates are taken, and which are not: by the rule that each breaks."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from guarded_stack import SERVICES_KEY, USERS_KEY, Guarded, token

from milepost.credentials import Credentials
from milepost.exceptions import Denied
from milepost.session.v1.session_service_pb2 import ListSessionsRequest
from runtime.auth_settings import AuthSettings
from runtime.errors import CallRefused, reason_name
from runtime.identity import ADMIN, SERVICE
from runtime.tokens import ServiceToken, Tokens

LIST = "SessionService.ListSessions"
NOW = int(time.time())


async def rule_of(settings: AuthSettings, said: str) -> str:
    """The rule a token breaks; empty for none."""
    try:
        await Tokens(settings).identity(said)
    except CallRefused as refused:
        return refused.metadata["rule"] if reason_name(refused.reason) == "NOT_AUTHENTICATED" else str(refused)
    return ""


def shared(**changed: Any) -> AuthSettings:
    return AuthSettings(auth_shared_key=USERS_KEY, auth_service_key=SERVICES_KEY, **changed)


def unsigned(claims: dict[str, Any]) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("", token("a", tenant="north")),
        ("malformed", "x"),
        ("malformed", ""),
        ("expired", token("a", tenant="north", exp=NOW - 3600)),
        ("not_yet", token("a", tenant="north", nbf=NOW + 3600)),
        ("signature", token("a", tenant="north", key="another key that is just as long as ours is")),
        ("algorithm", unsigned({"sub": "a", "tenant": "north", "exp": NOW + 3600})),
        ("claims", token("a", tenant="north", exp=None)),
        ("claims", token("a", tenant="north", sub=None)),
        ("tenant", token("a")),
        ("tenant", token("a", tenant="")),
        ("tenant", token("a", tenant="*")),
        ("tenant", token("a", tenant="north.south")),
        ("tenant", token("a", tenant=["north"])),
        ("audience", token("a", tenant="north", aud="elsewhere")),
    ],
)
async def test_a_token_that_breaks_a_rule_is_refused_by_its_name(rule: str, said: str) -> None:
    assert await rule_of(shared(), said) == rule


async def test_issuer_and_audience_are_required_where_they_are_set() -> None:
    settings = shared(auth_issuer="https://login", auth_audience="milepost", auth_tenant_claim="org")
    assert await rule_of(settings, token("a", org="north", iss="https://login", aud=["x", "milepost"])) == ""
    assert await rule_of(settings, token("a", org="north", iss="https://login")) == "claims"
    assert await rule_of(settings, token("a", org="north", iss="https://other", aud="milepost")) == "issuer"
    assert await rule_of(settings, token("a", org="north", iss="https://login", aud="other")) == "audience"
    assert await rule_of(settings, token("a", tenant="north", iss="https://login", aud="milepost")) == "tenant"


async def test_only_the_services_key_makes_a_service() -> None:
    tokens = Tokens(shared())
    claimed = await tokens.identity(token("a", tenant="north", roles=["service", "admin", "other"]))
    assert claimed.roles == {ADMIN}
    service = await tokens.identity(ServiceToken(SERVICES_KEY, "session_api")())
    assert (service.subject, service.of_tenant, service.roles) == ("session_api", "", {ADMIN, SERVICE})
    assert await rule_of(shared(), ServiceToken(USERS_KEY, "session_api")()) == "signature"
    assert await rule_of(shared(), token("a", tenant="north", key=SERVICES_KEY)) == "signature"


async def test_public_keys_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    first, second = Issuer("one"), Issuer("two")
    file = tmp_path / "keys.json"
    file.write_text(first.public())
    settings = AuthSettings(auth_jwks=str(file), auth_service_key=SERVICES_KEY)
    tokens = Tokens(settings)
    assert (await tokens.identity(first.token(tenant="north"))).tenant == "north"
    with pytest.raises(CallRefused, match="not signed with a key"):
        await tokens.identity(second.token(tenant="north"))
    file.write_text(second.public())
    assert (await tokens.identity(second.token(tenant="north"))).tenant == "north"
    # A public key is no secret: it must not serve as a shared one.
    forged = token("a", tenant="north", key=json.loads(second.public())["keys"][0]["x"])
    assert await rule_of(settings, forged) == "algorithm"


async def test_keys_of_a_url_are_asked_for_once_and_again_for_a_new_key() -> None:
    first, second = Issuer("one"), Issuer("two")
    answers = [first.public(), second.public()]
    async with Website(answers) as (url, asked):
        tokens = Tokens(AuthSettings(auth_jwks=url, auth_service_key=SERVICES_KEY))
        for _ in range(3):
            await tokens.identity(first.token(tenant="north"))
        assert len(asked) == 1
        # Nonsense does not make us hammer the issuer.
        with pytest.raises(CallRefused):
            await tokens.identity(second.token(tenant="north"))
        assert len(asked) == 1


async def test_without_any_key_nobody_is_told_that_their_token_is_wrong() -> None:
    tokens = Tokens(AuthSettings(auth_jwks="http://127.0.0.1:9/keys", auth_service_key=SERVICES_KEY))
    with pytest.raises(CallRefused) as refused:
        await tokens.identity(Issuer("one").token(tenant="north"))
    assert reason_name(refused.value.reason) == "KEYS_UNAVAILABLE"
    assert refused.value.retry_after_s


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("less than 32 bytes", {"auth_shared_key": "short", "auth_service_key": SERVICES_KEY}),
        ("users' key", {"auth_shared_key": USERS_KEY, "auth_service_key": USERS_KEY}),
        ("MILEPOST_AUTH_SERVICE_KEY", {"auth_shared_key": USERS_KEY}),
        ("go together", {"tls_cert": "c.pem"}),
        ("needs MILEPOST_TLS_CERT", {"tls_client_ca": "c.pem"}),
    ],
)
def test_settings_that_would_let_somebody_in_are_refused(message: str, settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=message):
        AuthSettings(**settings)


@pytest.mark.asyncio(loop_scope="session")
async def test_health_needs_no_token_and_reflection_does(guarded: Guarded) -> None:
    channel = guarded.channel("SessionService")
    check = health_pb2_grpc.HealthStub(channel).Check
    assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    wanted = reflection_pb2.ServerReflectionRequest(list_services="")
    reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    with pytest.raises(grpc.aio.AioRpcError, match="no token"):
        await anext(aiter(reflect(iter([wanted]))))
    signed = reflect(iter([wanted]), metadata=(("authorization", f"Bearer {token('a', tenant='north')}"),))
    assert len((await anext(aiter(signed))).list_services_response.service) > 3


@pytest.mark.asyncio(loop_scope="session")
async def test_a_refusal_says_what_is_wrong_with_the_token_and_not_what_would_be_right(guarded: Guarded) -> None:
    for said, rule in (("x", "malformed"), (token("a", tenant="t", exp=NOW - 3600), "expired")):
        outcome = await guarded.bearer(said).call(LIST, ListSessionsRequest())
        assert (outcome.code, outcome.metadata) == (grpc.StatusCode.UNAUTHENTICATED, {"rule": rule})


class Issuer:
    """Signs tokens with a private key of its own."""

    def __init__(self, key_id: str) -> None:
        self._key_id, self._key = key_id, ec.generate_private_key(ec.SECP256R1())

    def public(self) -> str:
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        return json.dumps({"keys": [{**key, "kid": self._key_id, "alg": "ES256", "use": "sig"}]})

    def token(self, **claims: Any) -> str:
        said = {"sub": "a", "exp": NOW + 3600, **claims}
        return jwt.encode(said, self._key, algorithm="ES256", headers={"kid": self._key_id})


@pytest.mark.asyncio(loop_scope="session")
async def test_a_watch_ends_when_its_token_expires(guarded: Guarded) -> None:
    async with guarded.connect(Credentials(token=token("a", tenant="brief"))) as client:
        session = await client.sessions.create_demo(seed=1)
    # Good for three seconds more: so far may clocks differ.
    leeway_s = shared().auth_leeway_s
    soon = token("a", tenant="brief", exp=int(time.time() - leeway_s) + 3)
    async with guarded.connect(Credentials(token=soon)) as client:
        items = aiter(client.events.watch(session.session_id))
        assert await anext(items)
        with pytest.raises(Denied) as refused:
            async for _ in items:
                pass
    assert refused.value.metadata["rule"] == "expired"


class Website:
    """Answers requests with these texts, the last one again and again."""

    def __init__(self, answers: Sequence[str]) -> None:
        self._answers, self.asked = list(answers), []

    async def __aenter__(self) -> tuple[str, list[str]]:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/keys", self.asked

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append(text)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()
