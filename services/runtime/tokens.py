"""Bearer tokens (JWT, RFC 7519): whose a token is, and the ones our services call each other with.

Users' tokens are signed with the shared key or with one of the JWKS. Services sign their own with a key that nobody
else has, told apart by the key id; only such a token, never what a user's says, makes a caller a service.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt

from milepost.errors.v1 import errors_pb2
from runtime.auth_settings import AuthSettings
from runtime.errors import CallRefused
from runtime.identity import ADMIN, SERVICE, Identity
from runtime.json_web_keys import JsonWebKeys, KeysUnavailable

_SERVICE_KEY_ID = "milepost-service"
# How long a service's token is good for, and how long it is used, seconds.
_SERVICE_TOKEN_S, _SERVICE_TOKEN_USED_S = 300.0, 120.0
_SHARED = ("HS256", "HS384", "HS512")
_PUBLIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# A tenant is a token of a subject on the broker.
TENANT_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# The longest subject that goes into logs, characters.
_MAX_SUBJECT = 255
_WORDS: dict[type[jwt.PyJWTError], tuple[str, str]] = {
    jwt.ExpiredSignatureError: ("expired", "the token has expired"),
    jwt.ImmatureSignatureError: ("not_yet", "the token is not valid yet"),
    jwt.InvalidSignatureError: ("signature", "the token is not signed with a key of this server"),
    jwt.InvalidAudienceError: ("audience", "the token is for another audience"),
    jwt.InvalidIssuerError: ("issuer", "the token is of another issuer"),
    jwt.MissingRequiredClaimError: ("claims", "the token lacks one of exp, sub, iss and aud"),
    jwt.InvalidAlgorithmError: ("algorithm", "the token is signed by an algorithm this server does not take"),
}


def not_authenticated(rule: str, message: str) -> CallRefused:
    """The refusal of who has not proven who they are; says what is missing, and nothing of what would be right."""
    return CallRefused(errors_pb2.ERROR_REASON_NOT_AUTHENTICATED, message, metadata={"rule": rule})


class Tokens:
    """Reads tokens."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._keys = JsonWebKeys(settings.auth_jwks) if settings.auth_jwks else None

    async def identity(self, token: str) -> Identity:
        """Whose token it is. Raises CallRefused: NOT_AUTHENTICATED, KEYS_UNAVAILABLE."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("kid") == _SERVICE_KEY_ID:
                claims = self._decode(token, self._service_key(), ("HS256",), of_users=False)
                return Identity("", str(claims["sub"]), frozenset({ADMIN, SERVICE}))
            claims = await self._users_claims(token, header)
        except jwt.PyJWTError as error:
            rule, words = _WORDS.get(type(error), ("malformed", "the token is none"))
            raise not_authenticated(rule, words) from error
        tenant = claims.get(self._settings.auth_tenant_claim)
        if not isinstance(tenant, str) or not TENANT_PATTERN.fullmatch(tenant):
            raise not_authenticated("tenant", "the token names no tenant, or one that is not 1 to 63 of a-z, 0-9 and -")
        until = float(claims["exp"]) + self._settings.auth_leeway_s
        return Identity(tenant, str(claims["sub"])[:_MAX_SUBJECT], self._roles(claims), until)

    async def _users_claims(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        if header.get("alg") in _SHARED and self._settings.auth_shared_key is not None:
            return self._decode(token, self._settings.auth_shared_key.get_secret_value(), _SHARED)
        if self._keys is None:
            raise jwt.InvalidAlgorithmError
        key_id = header.get("kid")
        try:
            key = await self._keys.find(key_id if isinstance(key_id, str) else None)
        except KeysUnavailable as error:
            raise CallRefused(errors_pb2.ERROR_REASON_KEYS_UNAVAILABLE, str(error), retry_after_s=1.0) from error
        if key is None:
            raise jwt.InvalidSignatureError
        return self._decode(token, key, _PUBLIC)

    def _service_key(self) -> str:
        if self._settings.auth_service_key is None:
            raise jwt.InvalidSignatureError
        return self._settings.auth_service_key.get_secret_value()

    def _decode(
        self, token: str, key: str | jwt.PyJWK, algorithms: tuple[str, ...], *, of_users: bool = True
    ) -> dict[str, Any]:
        issuer = self._settings.auth_issuer if of_users else ""
        audience = self._settings.auth_audience if of_users else ""
        required = ["exp", "sub", *(["iss"] if issuer else []), *(["aud"] if audience else [])]
        return jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            issuer=issuer or None,
            audience=audience or None,
            leeway=self._settings.auth_leeway_s,
            options={"require": required},
        )

    def _roles(self, claims: dict[str, Any]) -> frozenset[str]:
        said = claims.get(self._settings.auth_roles_claim, ())
        roles = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
        return frozenset({ADMIN} & {role for role in roles if isinstance(role, str)})


@dataclass(slots=True)
class ServiceToken:
    """The token a service of ours calls others with, made anew before it expires."""

    key: str
    service: str
    clock: Callable[[], float] = time.time
    _token: str = ""
    _made_at: float = float("-inf")

    def __call__(self) -> str:
        """A token that is good for some minutes."""
        now = self.clock()
        if now - self._made_at > _SERVICE_TOKEN_USED_S:
            claims = {"sub": self.service, "iat": int(now), "exp": int(now + _SERVICE_TOKEN_S)}
            self._token = jwt.encode(claims, self.key, algorithm="HS256", headers={"kid": _SERVICE_KEY_ID})
            self._made_at = now
        return self._token
