"""A stack of its own for each figure."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from milepost.client import Milepost
from milepost.up.children import StackSettings
from milepost.up.stack import Stack, running_stack


@dataclass(frozen=True, slots=True)
class Running:
    """A stack, its client, and the folder that holds all of it."""

    client: Milepost
    stack: Stack
    folder: Path


@asynccontextmanager
async def stack(*, slots: int | None = None) -> AsyncIterator[Milepost]:
    """The embedded stack in a temporary folder, and a client."""
    async with whole_stack(slots=slots) as running:
        yield running.client


@asynccontextmanager
async def whole_stack(*, workers: int = 1, slots: int | None = None) -> AsyncIterator[Running]:
    """As `stack`, for a figure that reaches for processes."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        folder = Path(name)
        settings = StackSettings(data_directory=folder, workers=workers, slots=slots)
        async with (
            running_stack(settings) as running,
            Milepost.connect(running.addresses.session_api, running.addresses.event_store) as client,
        ):
            yield Running(client, running, folder)
