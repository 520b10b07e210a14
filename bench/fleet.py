"""A fleet that follows its load: 1 worker, 6, 1, none, 1 again; what that costs the sessions.

    python -m bench fleet

Sessions are paced, so that the machine bears all of them; workers are real processes, told to go by SIGTERM.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

from bench.autoscaling import Autoscaler, autoscaled
from bench.lines import in_s, told
from bench.stack import whole_stack
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event
from milepost.session.v1.session_pb2 import Session, SessionSpec, SessionState
from runtime.process import cancel

SLOTS = 2
MAX_WORKERS = 6
SESSIONS = SLOTS * MAX_WORKERS
# Simulated seconds per second.
PACE = 10.0
# How long the shortest session is, and how much longer each next one, simulated s.
SHORTEST_S = 250.0
STAGGER_S = 40.0
_PATIENCE_S = 300.0
_LOOK_S = 0.05


async def measure() -> None:
    """One day of a fleet, in minutes."""
    async with whole_stack(workers=0) as running:
        addresses, client = running.stack.addresses, running.client
        async with autoscaled(
            running.folder / "fleet",
            client,
            session_api=addresses.session_api,
            event_store=addresses.event_store,
            nats_url=f"nats://{addresses.nats}",
            slots=SLOTS,
            max_workers=MAX_WORKERS,
        ) as scaler:
            scaling = asyncio.create_task(scaler(), name="autoscaler")
            try:
                await _day(client, scaler)
            finally:
                await cancel(scaling)


async def _day(client: Milepost, scaler: Autoscaler) -> None:
    demo = await client.sessions.create_demo(seed=1, end_time_s=25201.0)
    began = time.time()
    await _until(lambda: scaler.fleet.ready == 1)
    told("0 -> 1: an order to a worker that serves", f"{time.time() - began:.1f} s")
    digest = demo.spec.scenario_digest
    begin_s = demo.scene.begin_time_s
    names = [(await _session(client, digest, begin_s + SHORTEST_S + STAGGER_S * SESSIONS)).session_id]
    began = time.time()
    lengths = [SHORTEST_S + STAGGER_S * number for number in range(SESSIONS - 1)]
    names += [(await _session(client, digest, begin_s + length)).session_id for length in lengths]
    await _until(lambda: scaler.fleet.ready == MAX_WORKERS)
    told(f"1 -> {MAX_WORKERS}: {SESSIONS} sessions wanted to all workers serving", f"{time.time() - began:.1f} s")
    await _until(lambda: len(scaler.fleet.workers) == 1)
    ended = [await client.sessions.wait(name) for name in names]
    last_end = time.time()
    await _until(lambda: not scaler.fleet.workers)
    told(f"{MAX_WORKERS} -> 1 -> 0: the last end to no worker", f"{time.time() - last_end:.1f} s")
    began = time.time()
    again = await client.sessions.wait((await _session(client, digest, begin_s + 60.0, pace=0.0)).session_id)
    told("0 -> 1: created to completed, with no worker there", f"{time.time() - began:.1f} s")
    ended.append(again)
    # A session that stands keeps a worker, and it is workers who simulate again.
    standing = await _session(client, digest, begin_s + 60.0, paused=True)
    await _judge(client, ended)
    await client.sessions.cancel(standing.session_id)
    unknown = sum(reading.slots is None for reading in scaler.readings)
    told("rounds of polling, those without an answer", f"{len(scaler.readings)}, {unknown}")


async def _session(client: Milepost, digest: str, end_s: float, *, pace: float = PACE, paused: bool = False) -> Session:
    spec = SessionSpec(scenario_digest=digest, seed=1, end_time_s=end_s, pace=pace, start_paused=paused)
    return await client.sessions.create(spec)


async def _judge(client: Milepost, sessions: Sequence[Session]) -> None:
    """What moving has cost."""
    incomplete = [one.session_id for one in sessions if one.state != SessionState.SESSION_STATE_COMPLETED]
    if incomplete:
        raise RuntimeError(f"not completed: {', '.join(incomplete)}")
    handed_over, again_s, lost_s, pauses_s = 0, 0.0, 0.0, list[float]()
    for one in sessions:
        log = [event async for event in client.events.read(one.session_id)]
        intervals = [event for event in log if event.HasField("interval_closed")]
        verified = await client.sessions.verify(one.session_id)
        if verified.difference:
            raise RuntimeError(f"{one.session_id}: {verified.difference}")
        reached_s = intervals[-1].sim_time_s - one.scene.begin_time_s
        lost_s += reached_s - sum(_lengths(intervals, one.scene.begin_time_s))
        again_s += sum(event.recovery_judged.intervals for event in log) * 10.0
        for event in log:
            if event.HasField("handed_over"):
                handed_over += 1
                following = next(later for later in intervals if later.seq > event.seq)
                pauses_s.append((following.record_time.ToMicroseconds() - event.record_time.ToMicroseconds()) / 1e6)
    told("sessions that completed and came out equal again", f"{len(sessions)}")
    told("hand-overs on scaling in", f"{handed_over}")
    told("simulated seconds lost of those reported", f"{lost_s:g} s", "0")
    told("simulated seconds simulated again, all hand-overs", f"{again_s:g} s")
    if pauses_s:
        told("HandedOver to the next interval", in_s(pauses_s))


def _lengths(intervals: Sequence[Event], begin_s: float) -> list[float]:
    """How much each interval covers, simulated s, as far as each begins where one has ended."""
    times = [begin_s, *(event.sim_time_s for event in intervals)]
    return [now - before for before, now in itertools.pairwise(times) if 0 < now - before <= 10.0]


async def _until(holds: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    for _ in range(int(_PATIENCE_S / _LOOK_S)):
        if holds():
            return
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError
