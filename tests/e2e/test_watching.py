"""Watchers that come early, late, slowly, or break off in the middle: every event once, in order."""

import asyncio
from pathlib import Path

import pytest

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.event_service_pb2 import CaughtUp, Heartbeat, Terminal
from milepost.event.v1.frame_pb2 import Frame, FrameOptions
from milepost.exceptions import MilepostError
from milepost.session.v1.session_pb2 import SessionSpec
from session_logs import whole_log
from stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def create(stack: RunningStack, city: Path, **spec: object) -> str:
    scenario = await stack.client.scenarios.upload(city)
    return (await stack.client.sessions.create(SessionSpec(scenario_digest=scenario.digest, **spec))).session_id


async def watch(stack: RunningStack, name: str, *, after_seq: int = 0, pause_s: float = 0.0) -> list[object]:
    items = []
    async for item in stack.client.events.watch(name, after_seq=after_seq):
        items.append(item)
        if pause_s:
            await asyncio.sleep(pause_s)
    return items


def events(items: list[object]) -> list[Event]:
    return [item for item in items if isinstance(item, Event)]


async def test_early_late_slow_and_returning_watchers_see_the_same(stack: RunningStack, city: Path) -> None:
    name = await create(stack, city, seed=1)

    async def breaking_off() -> list[object]:
        seen: list[object] = []
        while not (seen and isinstance(seen[-1], Terminal)):
            after = events(seen)[-1].seq if events(seen) else 0
            stream = stack.client.events.watch(name, after_seq=after)
            async for item in stream:
                seen.append(item)
                if len(seen) % 7 == 0:
                    break
            await stream.aclose()
        return seen

    early, slow, returning = await asyncio.gather(watch(stack, name), watch(stack, name, pause_s=0.02), breaking_off())
    late = await watch(stack, name)
    log = await whole_log(stack, name)
    for items in (early, slow, returning, late):
        assert events(items) == log
        assert isinstance(items[-1], Terminal)
        assert items[-1].seq == log[-1].seq


async def test_resuming_right_at_the_end_is_told_that_it_is_the_end(stack: RunningStack, city: Path) -> None:
    name = await create(stack, city, seed=1, end_time_s=20)
    log = events(await watch(stack, name))
    assert [type(item) for item in await watch(stack, name, after_seq=log[-1].seq)] == [Terminal]


async def test_a_watcher_of_some_kinds_sees_these_alone(stack: RunningStack, city: Path) -> None:
    name = await create(stack, city, seed=1, end_time_s=100)
    kinds = [EventKind.EVENT_KIND_RUN_STARTED, EventKind.EVENT_KIND_SESSION_COMPLETED]
    seen = [item async for item in stack.client.events.watch(name, kinds=kinds)]
    assert [item.WhichOneof("payload") for item in events(seen)] == ["run_started", "session_completed"]
    assert isinstance(seen[-1], Terminal)


async def test_a_quiet_session_is_heard_to_be_alive(stack: RunningStack, city: Path) -> None:
    scenario = await stack.client.scenarios.upload(city)
    session = await stack.client.sessions.create(SessionSpec(scenario_digest=scenario.digest), create_only=True)
    seen = []
    async with asyncio.timeout(10):
        async for item in stack.client.events.watch(session.session_id):
            seen.append(item)
            if isinstance(item, Heartbeat):
                break
    assert [type(item) for item in seen] == [Event, CaughtUp, Heartbeat]
    assert (seen[-1].sent_seq, seen[-1].stored_head_seq) == (1, 1)
    assert seen[-1].HasField("ingest_lag")
    await stack.client.sessions.cancel(session.session_id)


async def test_frames_come_on_request_and_stay_out_of_the_log(stack: RunningStack, city: Path) -> None:
    name = await create(stack, city, seed=1, end_time_s=1e8)
    frames: list[Frame] = []
    async with asyncio.timeout(30):
        async for item in stack.client.events.watch(name, frames=FrameOptions(max_hz=10, max_vehicles=5)):
            if isinstance(item, Frame) and item.ids:
                frames.append(item)
            if len(frames) == 3:
                break
    await stack.client.sessions.cancel(name)
    for frame in frames:
        assert 0 < len(frame.ids) <= 5
        assert len(frame.ids) == len(frame.x) == len(frame.y) == len(frame.speed_mps) == len(frame.angle_deg)
        assert frame.vehicles_total >= len(frame.ids)
    assert all(event.WhichOneof("payload") != "frame" for event in await whole_log(stack, name))


async def test_cursors_and_names_that_do_not_exist_are_refused(stack: RunningStack, city: Path) -> None:
    name = await create(stack, city, seed=1, end_time_s=20)
    log = events(await watch(stack, name))
    with pytest.raises(MilepostError) as beyond:
        await watch(stack, name, after_seq=log[-1].seq + 1)
    assert (beyond.value.reason, beyond.value.metadata["head_seq"]) == ("CURSOR_BEYOND_HEAD", str(log[-1].seq))
    with pytest.raises(MilepostError) as unknown:
        await watch(stack, "nobody-knows-me")
    assert unknown.value.reason == "SESSION_NOT_FOUND"
