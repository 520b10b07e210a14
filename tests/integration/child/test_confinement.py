"""A child can do little besides simulating."""

import os
import re
import sys
from pathlib import Path

import pytest
from child_runs import FILE_SIZE_LIMIT_BYTES, City, plan, stepping

from milepost.child.v1.child_pb2 import Plan
from milepost.session.v1.session_pb2 import Engine
from sim_worker.gateways.zygote import Zygote

sys.path.insert(0, str(Path(__file__).parent))

from processes import family, status

pytestmark = pytest.mark.asyncio(loop_scope="module")

EngineKind = Engine.ValueType


def endless(engine: EngineKind) -> Plan:
    """A run that ends only because it is made to."""
    return plan(engine, end_time_s=1e9)


async def test_it_is_another_user_who_can_gain_no_rights(city: City, zygote: Zygote, engine: EngineKind) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    uids = set()
    async with (
        stepping(zygote, city.lay_out(f"first {engine}"), endless(engine)) as (first, _),
        stepping(zygote, city.lay_out(f"second {engine}"), endless(engine)) as (second, _),
    ):
        for pid in (*family(first.pid), *family(second.pid)):
            read = status(pid)
            uids.add(read["Uid"])
            assert read["NoNewPrivs"] == "1"
            assert int(read["CapEff"], 16) == int(read["CapPrm"], 16) == 0
            assert read["Groups"] == ""
    # One user per session, in every of the four roles, and none of them root.
    assert len(uids) == 2
    assert all(len(set(uid.split())) == 1 and not uid.startswith("0") for uid in uids)


async def test_it_has_a_directory_a_log_and_a_stream_and_nothing_else(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    async with stepping(zygote, city.lay_out(f"bare {engine}"), endless(engine)) as (child, _):
        directory = city.folder / f"bare {engine}"
        folder = Path(f"/proc/{child.pid}")
        assert folder.joinpath("cwd").resolve() == directory
        opened = [str(fd.readlink()) for fd in sorted(folder.joinpath("fd").iterdir(), key=lambda fd: int(fd.name))]
        assert opened[:3] == ["/dev/null", str(directory / "sumo.log"), str(directory / "sumo.log")]
        foreign = [
            name
            for name in opened[3:]
            if not name.startswith(("socket:", str(directory), "/dev/null")) and "sumo" not in name
        ]
        assert foreign == []
        sockets = [name for name in opened if name.startswith("socket:")]
        # Its stream and the packets on which it hands over copies; TraCI's connection to the binary.
        assert len(sockets) == (3 if engine == Engine.ENGINE_TRACI else 2)
        assert status(child.pid)["Threads"] == "1"


async def test_it_has_no_network(city: City, zygote: Zygote, engine: EngineKind) -> None:
    if not zygote.ready.network_isolated:
        pytest.skip("the kernel permits no network namespace here")
    async with stepping(zygote, city.lay_out(f"cut off {engine}"), endless(engine)) as (child, _):
        for pid in family(child.pid):
            assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
            interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
            assert [line.partition(":")[0].strip() for line in interfaces] == ["lo"]


async def test_its_resources_are_limited(city: City, zygote: Zygote, engine: EngineKind) -> None:
    async with stepping(zygote, city.lay_out(f"limited {engine}"), endless(engine)) as (child, _):
        for pid in family(child.pid):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits)
            assert re.search(rf"Max file size +{FILE_SIZE_LIMIT_BYTES} +{FILE_SIZE_LIMIT_BYTES} ", limits)


async def test_no_secret_of_the_worker_reaches_it(
    city: City, engine: EngineKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_TOKEN", "a secret")
    zygote = await Zygote.start()
    try:
        async with stepping(zygote, city.lay_out(f"secret {engine}"), endless(engine)) as (child, _):
            for pid in family(zygote.pid):
                assert b"a secret" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert child.pid in family(zygote.pid)
    finally:
        await zygote.close()
