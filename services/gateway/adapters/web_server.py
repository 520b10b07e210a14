"""An HTTP/1.1 server for an ASGI application, within a process of ours: it keeps its hands off signals and logs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

# Idle connections are kept so long, seconds: longer than proxies keep theirs, so that none is closed under a request.
_IDLE_S = 75
# What the kernel keeps of answers that a browser does not read, bytes a connection: of itself it would keep megabytes,
# and whoever stands behind would notice a slow reader late.
_UNREAD_BYTES = 128 * 1024


class _Server(uvicorn.Server):
    """A server that leaves SIGTERM and SIGINT to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def web_serving(application: Any, listen: str, *, grace_s: float) -> AsyncIterator[str]:
    """Serve while the body runs, then give open requests `grace_s`; where, `host:port`. Raises OSError."""
    host, _, port = listen.rpartition(":")
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    with socket.create_server((name, int(port)), family=family, backlog=2048) as listening:
        # Connections inherit it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
        config = uvicorn.Config(
            application,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=int(grace_s) + 1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listening]), name="web server")
        try:
            yield f"{host}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
