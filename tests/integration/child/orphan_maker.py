"""A worker of the test's own that starts a child per engine, says who runs, and waits to be killed."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from child_runs import City, plan
from processes import family

from milepost.child.v1.child_pb2 import FromChild
from milepost.session.v1.session_pb2 import Engine
from sim_worker.gateways.child_process import ChildLimits
from sim_worker.gateways.zygote import Zygote


async def first_interval(messages: AsyncGenerator[FromChild, None]) -> None:
    async for message in messages:
        if message.HasField("interval"):
            return


async def main(net: Path, folder: Path) -> None:
    city = City(net, folder)
    zygote = await Zygote.start()
    engines = [Engine.ENGINE_TRACI] if zygote.ready.libsumo_missing else [Engine.ENGINE_TRACI, Engine.ENGINE_LIBSUMO]
    heard = []
    for engine in engines:
        what = plan(engine, end_time_s=1e9)
        child = await zygote.launch(what, city.lay_out(f"orphan {engine}"), ChildLimits())
        heard.append(child.messages())
        await first_interval(heard[-1])
    sys.stdout.write(" ".join(map(str, family(zygote.pid))) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
