"""The same work for many items, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Do `work` for each; the first that raises ends the others, and raises here."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(at_once):
                tasks.create_task(worker(), name=f"for-each-{number}")
    except ExceptionGroup as group:
        # One is enough: whoever called knows how to answer that.
        raise group.exceptions[0] from None
