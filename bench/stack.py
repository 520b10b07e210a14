"""A stack of its own for each figure."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from milepost.client import Milepost
from milepost.up.children import StackSettings
from milepost.up.stack import running_stack


@asynccontextmanager
async def stack(*, slots: int | None = None) -> AsyncIterator[Milepost]:
    """The embedded stack in a temporary folder, and a client."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
        settings = StackSettings(data_directory=Path(folder), slots=slots)
        async with (
            running_stack(settings) as running,
            Milepost.connect(running.addresses.session_api, running.addresses.event_store) as client,
        ):
            yield client
