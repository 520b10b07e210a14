"""Frames beside the events: on request, thinned, never instead of an event (contracts.md, rule 8)."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, completed, lines, metric

from broker import Broker
from milepost.event.v1.frame_pb2 import BoundingBox, Frame, FrameInterest, FrameOptions
from runtime.broker import connect, subject
from runtime.settings import DEFAULT_TENANT

pytestmark = pytest.mark.any_database

FRAMES = subject(Frame, tenant=DEFAULT_TENANT, session="s")
INTEREST = subject(FrameInterest, tenant=DEFAULT_TENANT, session="s")


@pytest.fixture
async def worker(broker: Broker) -> AsyncIterator[Client]:
    client = await connect(broker.url, name="worker")
    yield client
    await client.close()


def frame(step: int) -> bytes:
    """Four vehicles on a line, 100 m from each other."""
    columns = {"x": [0, 100, 200, 300], "y": [0, 0, 0, 0], "speed_mps": [1, 2, 3, 4], "angle_deg": [90] * 4}
    return Frame(step=step, ids=["a", "b", "c", "d"], vehicles_total=4, **columns).SerializeToString()


async def test_frames_come_to_those_who_ask_for_them_and_as_they_ask(
    js: JetStreamContext, worker: Client, store: Store
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    interest = await worker.subscribe(INTEREST)
    box = BoundingBox(x_min=50, y_min=-1, x_max=250, y_max=1)
    async with (
        store.watching("s", frames=FrameOptions(max_hz=30)) as everything,
        store.watching("s", frames=FrameOptions(max_hz=5, box=box)) as boxed,
        store.watching("s", frames=FrameOptions(max_hz=5, max_vehicles=1)) as few,
        store.watching("s") as none,
    ):
        for watch in (everything, boxed, few, none):
            await watch.until("caught_up")
        wanted = 0.0
        while wanted != 30:
            wanted = FrameInterest.FromString((await interest.next_msg(timeout=10)).data).max_hz
        step = 0

        async def publish() -> None:
            nonlocal step
            while True:
                step += 1
                # What is no frame harms nobody.
                await worker.publish(FRAMES, b"\xff\xff")
                await worker.publish(FRAMES, frame(step))
                await worker.flush()

        publishing = asyncio.create_task(publish())
        seen = [(await watch.until("frame")).frame for watch in (everything, boxed, few)]
        steps = [(await everything.until("frame")).frame.step for _ in range(10)]
        assert steps == sorted(set(steps))
        assert [list(each.ids) for each in seen[:2]] == [["a", "b", "c", "d"], ["b", "c"]]
        assert (list(seen[1].x), list(seen[1].speed_mps)) == ([100, 200], [2, 3])
        assert (len(seen[2].ids), seen[2].vehicles_total) == (1, 4)
        # Thinned: of the many that were published a viewer of 30 a second gets at most so many.
        assert step > 20
        for n in range(50):
            await log.append(*lines(f"{n}"))
        await log.append(completed())
        for watch in (everything, boxed, few, none):
            await watch.to_the_end()
            assert watch.seqs == list(range(1, log.head + 1))
        publishing.cancel()
    assert "frame" not in none.kinds()


async def test_frames_come_no_faster_than_asked_for(js: JetStreamContext, worker: Client, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    interest = await worker.subscribe(INTEREST)
    async with store.watching("s", frames=FrameOptions(max_hz=4)) as watch:
        await interest.next_msg(timeout=10)

        async def publish() -> None:
            step = 0
            while True:
                step += 1
                await worker.publish(FRAMES, frame(step))
                await worker.flush()

        publishing = asyncio.create_task(publish())
        await watch.until("frame")
        began = asyncio.get_running_loop().time()
        for _ in range(4):
            await watch.until("frame")
        assert asyncio.get_running_loop().time() - began > 0.7
        publishing.cancel()


async def test_interest_ends_with_the_last_viewer(js: JetStreamContext, worker: Client, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    interest = await worker.subscribe(INTEREST)
    async with store.watching("s", frames=FrameOptions(max_hz=1)):
        await interest.next_msg(timeout=10)
    while interest.pending_msgs:
        await interest.next_msg(timeout=1)
    # Interest is said every 2 s: a time-out means that nobody says it any more.
    with pytest.raises(asyncio.TimeoutError):
        while True:
            await interest.next_msg(timeout=2.5)


async def test_under_load_frames_go_first_and_events_come_all_the_same(
    js: JetStreamContext, worker: Client, store: Store
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    interest = await worker.subscribe(INTEREST)
    shed = metric("milepost_frames_shed_total")

    async def publish() -> None:
        while True:
            await worker.publish(FRAMES, frame(1))
            await worker.flush()

    async def be_late() -> None:
        """The store lives on this loop."""
        while True:
            time.sleep(0.3)  # noqa: ASYNC251 - what a loop that cannot keep up looks like
            await asyncio.sleep(0.1)

    async with store.watching("s", frames=FrameOptions(max_hz=30)) as watch:
        await interest.next_msg(timeout=10)
        publishing = asyncio.create_task(publish())
        await watch.until("frame")
        loading = asyncio.create_task(be_late())
        async with asyncio.timeout(PATIENCE_S):
            while metric("milepost_frames_shed_total") <= shed + 10:
                await asyncio.sleep(0)
        sent_before = len(watch.messages)
        for n in range(3):
            await log.append(*lines(f"{n}"))
            await watch.until_seq(log.head)
        # What was on its way when the load came may still have arrived.
        frames = [message for message in watch.messages[sent_before:] if message.HasField("frame")]
        assert len(frames) < 5
        loading.cancel()
        await watch.until("frame")
        publishing.cancel()
