"""A hundred sessions created at once against a hundred bare processes, two at a time."""

import asyncio
import os
import time

from bench.rivals import binary_s
from bench.stack import stack

SESSIONS = 100

# Simulated end of each, s: half a second of bare SUMO; the city begins at seven in the morning.
SIMULATED_S = 600.0
END_TIME_S = 25200.0 + SIMULATED_S


async def measure() -> None:
    """Throughput of both, and how long creating took."""
    async with stack() as client:
        model = await client.sessions.wait(
            (await client.sessions.create_demo(seed=1, end_time_s=END_TIME_S)).session_id
        )
        created_s: list[float] = []

        async def create(seed: int) -> str:
            began = time.perf_counter()
            session = await client.sessions.create_demo(seed=seed, end_time_s=END_TIME_S)
            created_s.append(time.perf_counter() - began)
            return session.session_id

        began = time.perf_counter()
        names = await asyncio.gather(*(create(seed) for seed in range(SESSIONS)))
        await asyncio.gather(*(client.sessions.wait(name) for name in names))
        ours_s = time.perf_counter() - began
    began = time.perf_counter()
    free = asyncio.Semaphore(os.cpu_count() or 1)

    async def bare() -> None:
        async with free:
            await binary_s(model)

    await asyncio.gather(*(bare() for _ in range(SESSIONS)))
    bare_s = time.perf_counter() - began
    created_s.sort()
    print(f"  {SESSIONS} sessions of {SIMULATED_S:.0f} simulated seconds")
    print(f"  create acknowledged: p50 {created_s[SESSIONS // 2] * 1e3:.0f} ms, worst {created_s[-1] * 1e3:.0f} ms")
    print(f"  Milepost {ours_s:.1f} s, bare processes {os.cpu_count()} at a time {bare_s:.1f} s")
    print(f"  throughput against bare processes: {bare_s / ours_s:.2f}")
