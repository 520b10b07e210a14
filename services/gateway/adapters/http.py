"""What is served over HTTP (an ASGI application): calls, their preflights, the console, health.

POST    /milepost.…/Method     a call (gRPC-Web)
OPTIONS /milepost.…/Method     whether a page of another origin may make it
GET     /livez                 200 while the gateway lives
GET     /readyz                200 while both services are well, else 503; JSON says which is not
GET     / and its files        the console
"""

import json
from collections.abc import Mapping
from typing import Any

from gateway.adapters.calls import Calls, Send
from gateway.adapters.console import Page
from gateway.adapters.grpc_web import CONTENT_TYPES, Receive
from gateway.adapters.origins import Headers, Origins
from gateway.gateways.upstream import Method, Upstream

Scope = Mapping[str, Any]
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_JSON = (b"content-type", b"application/json")


class Http:
    """The application."""

    def __init__(self, upstream: Upstream, calls: Calls, origins: Origins, console: Mapping[str, Page]) -> None:
        self._upstream, self._calls, self._origins, self._console = upstream, calls, origins, console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        verb, path = scope["method"], scope["path"]
        # Whoever looks after the process calls it by an address of its own.
        if verb in ("GET", "HEAD") and path in ("/livez", "/readyz"):
            return await self._health(path, send)
        if why := self._origins.refuses(headers):
            return await _answer(send, 403, _TEXT, body=f"{why}\n".encode())
        if method := self._upstream.methods.get(path):
            return await self._call(method, verb, headers, receive, send)
        if verb in ("GET", "HEAD") and (page := self._console.get(path)):
            return await _answer(send, page.status, *page.headers, body=page.content)
        return await _answer(send, 404, _TEXT, body=b"There is nothing here.\n")

    async def _call(self, method: Method, verb: str, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        if verb == "OPTIONS":
            return await _answer(send, 204, *self._origins.preflight(headers))
        permission: Headers = self._origins.permission(headers)
        if verb != "POST":
            return await _answer(send, 405, _TEXT, (b"allow", b"POST"), *permission, body=b"Calls are POSTs.\n")
        # No other type: those that a page may send without asking (forms, text) must not get through.
        if headers.get("content-type", "").lower() not in CONTENT_TYPES:
            body = f"Calls are gRPC-Web: {' or '.join(sorted(CONTENT_TYPES))}.\n".encode()
            return await _answer(send, 415, _TEXT, *permission, body=body)
        return await self._calls(method, headers, permission, receive, send)

    async def _health(self, path: str, send: Send) -> None:
        if path == "/livez":
            return await _answer(send, 200, _TEXT, body=b"ok\n")
        health = await self._upstream.health()
        well = all(status == "SERVING" for status in health.values())
        return await _answer(send, 200 if well else 503, _JSON, body=json.dumps(health).encode())


async def _answer(send: Send, status: int, *headers: tuple[bytes, bytes], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
