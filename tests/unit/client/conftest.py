"""Servers that say what a test scripts, over real gRPC, and clients of them."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from milepost.client import Milepost

Register = Callable[[grpc.aio.Server], None]
Connect = Callable[..., Awaitable[Milepost]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`await connect(register, …)`: a client of a server that `register` filled; options as Milepost.connect."""
    async with AsyncExitStack() as stack:

        async def start(register: Register, **options: float) -> Milepost:
            server = grpc.aio.server()
            register(server)
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, None)
            return await stack.enter_async_context(Milepost.connect(address, address, **options))

        yield start
