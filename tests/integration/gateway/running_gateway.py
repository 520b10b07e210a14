"""A gateway in this process, and a browser's client in a few lines: gRPC-Web over HTTP/1.1."""

import asyncio
import base64
import contextlib
import json
import struct
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gateway.main import serve
from gateway.settings import GatewaySettings
from runtime.process import Lifetime

PATIENCE_S = 20.0
TYPE = {"content-type": "application/grpc-web+proto"}


@contextlib.asynccontextmanager
async def running_gateway(folder: Path, session_api: str, event_store: str, **own: Any) -> AsyncIterator[str]:
    """A gateway for the time of the body: where it serves, `http://host:port`. Stops cleanly at the end."""
    folder.mkdir(exist_ok=True)
    ready = folder / f"{uuid.uuid4().hex}.json"
    settings = GatewaySettings(
        session_api=session_api,
        event_store=event_store,
        metrics_listen="127.0.0.1:0",
        ready_file=ready,
        **{"listen": "127.0.0.1:0", **own},
    )
    lifetime = Lifetime(settings, "none")
    serving = asyncio.create_task(serve(settings, lifetime))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not ready.exists() and not serving.done():
                await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
        yield f"http://127.0.0.1:{json.loads(ready.read_text())['address'].rpartition(':')[2]}"
    finally:
        lifetime.stop.set()
        await asyncio.wait_for(serving, PATIENCE_S)


@dataclass
class Answer:
    """What came back of a call: messages as bytes, the trailers."""

    messages: list[bytes] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The gRPC status."""
        return int(self.trailers["grpc-status"])

    @property
    def info(self) -> error_details_pb2.ErrorInfo:
        """Of the error."""
        return self._detail(error_details_pb2.ErrorInfo)

    @property
    def violations(self) -> dict[str, str]:
        """Fields that are wrong."""
        return {it.field: it.description for it in self._detail(error_details_pb2.BadRequest).field_violations}

    def _detail(self, kind: Any) -> Any:
        encoded = self.trailers["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        return next(kind.FromString(it.value) for it in status.details if it.Is(kind.DESCRIPTOR))


def framed(message: Message | bytes) -> bytes:
    """A message as it travels."""
    content = message if isinstance(message, bytes) else message.SerializeToString()
    return struct.pack(">BI", 0, len(content)) + content


async def frames(response: httpx.Response) -> AsyncIterator[tuple[int, bytes]]:
    """The frames of a response, as they come: flags and content."""
    buffer = b""
    async for part in response.aiter_raw():
        buffer += part
        while len(buffer) >= 5 and len(buffer) >= 5 + struct.unpack_from(">BI", buffer)[1]:
            flags, length = struct.unpack_from(">BI", buffer)
            yield flags, buffer[5 : 5 + length]
            buffer = buffer[5 + length :]
    assert not buffer


def trailers_of(block: bytes) -> dict[str, str]:
    """The trailers in the last frame."""
    lines = (line.partition(": ") for line in block.decode().split("\r\n") if line)
    return {key: unquote(value) if key == "grpc-message" else value for key, _, value in lines}


@dataclass
class Browser:
    """Calls a gateway as a page does."""

    http: httpx.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict)

    async def call(self, method: str, *messages: Message | bytes, **headers: str) -> Answer:
        """The whole answer to a call; `method` is `package.Service/Method` without `milepost.`."""
        content = b"".join(map(framed, messages))
        async with self.stream(method, content, **headers) as response:
            assert response.status_code == 200, await response.aread()
            answer = Answer()
            async for flags, part in frames(response):
                if flags & 0x80:
                    answer.trailers = trailers_of(part)
                else:
                    answer.messages.append(part)
        return answer

    def stream(
        self, method: str, content: bytes, **headers: str
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        """The response of a call, to be read as it comes."""
        said = {**TYPE, **self.headers, **{key.replace("_", "-"): value for key, value in headers.items()}}
        return self.http.stream("POST", f"/milepost.{method}", content=content, headers=said)


@contextlib.asynccontextmanager
async def browsing_at(gateway: str, token: str = "") -> AsyncIterator[Browser]:
    """A page of the gateway's own."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=gateway, timeout=PATIENCE_S) as http:
        yield Browser(http, headers)
