"""A worker that is a job leaves when there was nothing to do for a while, and not before."""

import asyncio

from eventually import eventually
from sim_worker.application.leave_when_idle import leave_when_idle


async def test_a_worker_stays_while_it_is_busy_and_leaves_when_it_is_not() -> None:
    stop, looks, busy = asyncio.Event(), [], True

    def sessions() -> int:
        looks.append(busy)
        return int(busy)

    leaving = asyncio.create_task(leave_when_idle(sessions, after_s=0.01, stop=stop))
    await eventually(lambda: len(looks) >= 5)
    assert not stop.is_set()
    busy = False
    await asyncio.wait_for(leaving, 10)
    assert stop.is_set()
    assert not looks[-1]


async def test_a_worker_that_is_told_to_stop_is_not_waited_for() -> None:
    stop = asyncio.Event()
    leaving = asyncio.create_task(leave_when_idle(lambda: 1, after_s=0.01, stop=stop))
    stop.set()
    await asyncio.wait_for(leaving, 10)


async def test_a_worker_that_is_a_service_stays() -> None:
    stop = asyncio.Event()
    await leave_when_idle(lambda: 0, after_s=0, stop=stop)
    assert not stop.is_set()
