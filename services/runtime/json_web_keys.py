"""The public keys that tokens are signed with: a JWKS, from a file or a URL, looked up by key id.

A file is read again when it changes. A URL is asked again every five minutes, and at once for a key id that is not
known, though no more often than every ten seconds: whoever sends nonsense must not make us hammer the issuer. While
the issuer does not answer, the keys it named last go on.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
import structlog

log = structlog.get_logger()

# How long an issuer may take to answer, seconds.
FETCH_TIMEOUT_S = 5.0
# How old keys may become before they are asked for again, seconds.
REFRESH_S = 300.0
# How long to wait at least between two questions, seconds.
ASK_AGAIN_S = 10.0


@dataclass(eq=False)
class KeysUnavailable(Exception):
    """Keys were never read; in words."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(slots=True)
class JsonWebKeys:
    """Keys by their id."""

    source: str
    clock: Callable[[], float] = time.monotonic
    _keys: dict[str | None, jwt.PyJWK] = field(default_factory=dict)
    _asked_at: float = float("-inf")
    _modified_ns: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of this id, or the only one when the token names none. Raises KeysUnavailable."""
        async with self._turn:
            age_s = self.clock() - self._asked_at
            if not self._is_url or age_s > REFRESH_S or (self._pick(key_id) is None and age_s > ASK_AGAIN_S):
                await self._refresh()
        if not self._keys:
            raise KeysUnavailable("the keys that tokens are signed with cannot be read")
        return self._pick(key_id)

    @property
    def _is_url(self) -> bool:
        return self.source.startswith(("https://", "http://"))

    def _pick(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        self._asked_at = self.clock()
        try:
            text = await (self._fetch() if self._is_url else self._read())
            if text is not None:
                keys = jwt.PyJWKSet.from_dict(json.loads(text)).keys
                self._keys = {key.key_id: key for key in keys}
        except (OSError, httpx.HTTPError, ValueError, AttributeError, jwt.PyJWTError) as error:
            log.warning("keys cannot be read", source=self.source, error=repr(error))

    async def _fetch(self) -> str:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client:
            return (await client.get(self.source)).raise_for_status().text

    async def _read(self) -> str | None:
        """The file, if it is another one than before."""
        path = Path(self.source)
        modified_ns = path.stat().st_mtime_ns
        if modified_ns == self._modified_ns:
            return None
        text = await asyncio.to_thread(path.read_text)
        self._modified_ns = modified_ns
        return text
