"""An answer that is lost: the server has done what was asked, and the client cannot know.

The client has to ask again, with the same request_id, and what was asked must have been done once.
"""

import asyncio

from conformance.doors import Door
from conformance.driver import Driver
from conformance.messages import pb
from conformance.stacks import Stage

# The label that tells the session of the lost answer.
LABEL = "wish"
_POLL_S = 0.05


async def do(step: pb.Step, driver: Driver, door: Door, stage: Stage) -> tuple[pb.Outcome, int]:
    """Have a create done whose first answer is lost; the outcome, and how many sessions there are of it.

    The driver has used this door before: what is lost is an answer, not a connection that never was.
    """
    wish = step.create_session.labels[LABEL]
    for proxy in door.proxies.values():
        proxy.mute()
    doing = asyncio.create_task(driver.do(step))
    try:
        while not await created(stage, wish):
            await asyncio.sleep(_POLL_S)
    finally:
        for proxy in door.proxies.values():
            proxy.heal()
            proxy.reset()
    return await doing, await created(stage, wish)


async def created(stage: Stage, wish: str) -> int:
    """How many sessions carry this label."""
    return len([it async for it in stage.client.sessions.list(page_size=500) if it.labels.get(LABEL) == wish])
