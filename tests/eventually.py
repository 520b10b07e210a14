"""Waiting for a condition, patiently."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 30.0


async def eventually(condition: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
