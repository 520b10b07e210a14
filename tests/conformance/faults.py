"""What happens to the servers while the drivers are at the first step of a case.

A watch of every language is open before anything happens, and every fault waits until the log has grown since the one
before: so each of them meets watches that are under way. `watching` tells how many drivers are still at it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from conformance.stacks import Stage

RESTARTS = 10
RESETS = 5
# Events that are to come between two faults.
GROWTH = 3
WATCHING_S = 60.0
_POLL_S = 0.05


async def restarts(stage: Stage, variables: dict[str, Any], watching: Callable[[], int]) -> None:
    """The event store is killed ten times, and what stands between it and a browser every second time."""
    session_id = variables["session"]
    for number in range(RESTARTS):
        await watched(stage, session_id, watching)
        await grown(stage, session_id)
        names = ["event_store"] + (["gateway"] if number % 2 and "gateway" in stage.stack.pids else [])
        killed = {name: stage.stack.kill(name) for name in names}
        for name, pid in killed.items():
            await stage.stack.restarted(name, pid)
    await watched(stage, session_id, watching)
    await grown(stage, session_id)
    await stage.client.sessions.terminate(session_id)


async def resets(stage: Stage, variables: dict[str, Any], watching: Callable[[], int]) -> None:
    """Every connection is torn down five times."""
    session_id = variables["session"]
    await watched(stage, session_id, watching)
    for _ in range(RESETS):
        await grown(stage, session_id)
        for proxy in (await stage.door("proxy", "")).proxies.values():
            proxy.reset()
    await grown(stage, session_id)
    await stage.client.sessions.terminate(session_id)


async def silence(stage: Stage, variables: dict[str, Any], watching: Callable[[], int]) -> None:
    """The connections that are there stay open, and nothing comes over them ever again; new ones are fine."""
    session_id = variables["session"]
    await watched(stage, session_id, watching)
    await grown(stage, session_id)
    for proxy in (await stage.door("proxy", "")).proxies.values():
        proxy.freeze()
    await grown(stage, session_id)
    await stage.client.sessions.terminate(session_id)


async def burst(stage: Stage, variables: dict[str, Any], watching: Callable[[], int]) -> None:
    """The session runs as fast as it can, to its end."""
    await watched(stage, variables["session"], watching)
    await stage.client.sessions.pace(variables["session"], 0)


async def ending(stage: Stage, variables: dict[str, Any], watching: Callable[[], int]) -> None:
    """The session is ended while it is watched."""
    await watched(stage, variables["session"], watching)
    await grown(stage, variables["session"])
    await stage.client.sessions.terminate(variables["session"])


FAULTS: dict[str, Callable[[Stage, dict[str, Any], Callable[[], int]], Awaitable[None]]] = {
    "restarts": restarts,
    "resets": resets,
    "silence": silence,
    "burst": burst,
    "ending": ending,
}


async def watched(stage: Stage, session_id: str, watching: Callable[[], int]) -> None:
    """Wait until all watch that have not given up."""
    async with asyncio.timeout(WATCHING_S):
        while (await stage.client.events.head(session_id)).watchers < watching():
            await asyncio.sleep(_POLL_S)


async def grown(stage: Stage, session_id: str) -> None:
    """Wait until the stored log is GROWTH events longer."""
    before = (await stage.client.events.head(session_id)).head_seq
    async with asyncio.timeout(WATCHING_S):
        while (await stage.client.events.head(session_id)).head_seq < before + GROWTH:
            await asyncio.sleep(_POLL_S)
