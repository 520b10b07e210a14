"""A sleeping copy of a running simulation goes on exactly where it was taken, whatever became of the original."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from child_runs import City, Run, plan, run

from eventually import eventually
from milepost.child.v1.child_pb2 import ChildCommand, Plan, Started
from milepost.event.v1.event_pb2 import JournalEntry, SetPaceCommand
from milepost.intervention.v1.intervention_pb2 import AddVehicle, Intervention
from milepost.session.v1.session_pb2 import Engine
from sim_worker.application.lingering import Lingering
from sim_worker.application.snapshots import Kept
from sim_worker.gateways.child_process import Child, ChildGone, ChildLimits, ChildRefused
from sim_worker.gateways.snapshot import Snapshot
from sim_worker.gateways.zygote import Zygote

sys.path.insert(0, str(Path(__file__).parent))

from processes import family, until_gone

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTPUTS = ("fcd.xml", "trips.xml", "summary.xml", "statistics.xml")
WITH_OUTPUTS = (
    *("--fcd-output", "fcd.xml", "--fcd-output.acceleration", "--tripinfo-output", "trips.xml"),
    *("--summary-output", "summary.xml", "--statistic-output", "statistics.xml"),
)
END_S = 120.0
# In the middle of an interval, with vehicles under way.
TAKEN_AT = 43


@pytest.fixture(autouse=True)
def _libsumo(zygote: Zygote) -> None:
    if zygote.ready.libsumo_missing:
        pytest.skip(f"libsumo cannot be used here: {zygote.ready.libsumo_missing}")


def the_plan(*extra: str, **fields: object) -> Plan:
    made = plan(Engine.ENGINE_LIBSUMO, *WITH_OUTPUTS, *extra, end_time_s=END_S)
    made.MergeFrom(Plan(**fields))  # type: ignore[arg-type]
    return made


def outputs(directory: Path) -> dict[str, list[str]]:
    """What was written, without the lines that tell of the wall clock."""
    return {name: lines_of(directory / name) for name in OUTPUTS}


def lines_of(path: Path) -> list[str]:
    clocks = ("generated on", 'duration="', "<performance", "clockBegin")
    lines = path.read_text().splitlines()
    return [line for line in lines if not any(word in line for word in clocks) or "<tripinfo" in line]


@asynccontextmanager
async def held(zygote: Zygote, directory: Path, what: Plan) -> AsyncIterator[tuple[Child, Run]]:
    """A child that stands at TAKEN_AT, what it has said, and its messages being read in the background."""
    waiting = Plan()
    waiting.CopyFrom(what)
    waiting.hold_at_step = TAKEN_AT
    child = await zygote.launch(waiting, directory, ChildLimits())
    heard = Run()
    async with heard.listening_to(child):
        await heard.until("halted")
        yield child, heard
        child.kill()
    await child.exited()


async def to_the_end(child: Child) -> Run:
    heard = Run()
    async with heard.listening_to(child):
        heard.exit = await child.exited()
    assert heard.failed is None
    assert heard.finished is not None
    return heard


@pytest.mark.parametrize(
    "extra",
    [(), ("--lateral-resolution", "0.8"), ("--step-length", "0.5"), ("--tls.all-off",)],
    ids=["plain", "sublane", "half steps", "signals off"],
)
async def test_a_woken_copy_goes_on_as_if_nothing_had_happened(
    city: City, zygote: Zygote, extra: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    undisturbed = await run(zygote, city.lay_out(f"{request.node.name} whole"), the_plan(*extra))
    directory = city.lay_out(request.node.name)
    async with held(zygote, directory, the_plan(*extra)) as (child, before):
        snapshot = await child.take_snapshot("first")
        os.kill(child.pid, signal.SIGKILL)
        await child.exited()
    woken = await to_the_end(await snapshot.wake(the_plan(*extra), limits=ChildLimits()))
    assert snapshot.place.step == TAKEN_AT
    assert before.payloads + woken.payloads == undisturbed.payloads
    assert woken.finished == undisturbed.finished
    assert outputs(directory) == outputs(city.folder / f"{request.node.name} whole")
    assert "Quitting (on error)" not in (directory / "sumo.log").read_text()


async def test_the_original_is_undisturbed(city: City, zygote: Zygote) -> None:
    undisturbed = await run(zygote, city.lay_out("original whole"), the_plan())
    directory = city.lay_out("original")
    async with held(zygote, directory, the_plan()) as (child, heard):
        snapshot = await child.take_snapshot("first")
        await child.command(ChildCommand(command_id="on", set_pace=SetPaceCommand()))
        await child.exited()
        assert heard.payloads == undisturbed.payloads
        assert heard.finished == undisturbed.finished
        assert outputs(directory) == outputs(city.folder / "original whole")
        # Its own copy still goes on from where it was taken, elsewhere.
        elsewhere = city.lay_out("original elsewhere")
        woken = await snapshot.wake(the_plan(), directory=elsewhere, limits=ChildLimits())
        assert (await to_the_end(woken)).finished == undisturbed.finished
        assert outputs(elsewhere) == outputs(directory)


async def test_it_can_be_woken_again_and_again_when_it_leaves_a_copy(city: City, zygote: Zygote) -> None:
    undisturbed = await run(zygote, city.lay_out("again whole"), the_plan())
    directory = city.lay_out("again")
    async with held(zygote, directory, the_plan()) as (child, before):
        snapshot = await child.take_snapshot("first")
    for turn in range(3):
        woken = await snapshot.wake(the_plan(), keep_as=f"kept {turn}", limits=ChildLimits())
        assert not snapshot.alive
        assert woken.kept is not None
        kept = await woken.kept
        assert kept.snapshot_id == f"kept {turn}"
        assert kept.place == snapshot.place
        heard = await to_the_end(woken)
        assert before.payloads + heard.payloads == undisturbed.payloads
        assert outputs(directory) == outputs(city.folder / "again whole")
        snapshot = kept
    await leaves(snapshot)


async def test_another_journal_leads_elsewhere_and_to_the_same_place_each_time(city: City, zygote: Zygote) -> None:
    added = Intervention(add_vehicle=AddVehicle(vehicle_id="new", route_edges=["A0B0", "C2C1"]))
    journal = [JournalEntry(step=TAKEN_AT + 4, command_id="add", intervention=added)]
    from_the_origin = await run(zygote, city.lay_out("journal whole"), the_plan(journal=journal))
    undisturbed = await run(zygote, city.lay_out("journal none"), the_plan())
    async with held(zygote, city.lay_out("journal"), the_plan()) as (child, before):
        snapshot = await child.take_snapshot("first")
        elsewhere = city.lay_out("journal elsewhere")
        woken = await snapshot.wake(the_plan(journal=journal), directory=elsewhere, limits=ChildLimits())
        heard = await to_the_end(woken)
    assert before.payloads + heard.payloads == from_the_origin.payloads
    assert heard.last.state_digest != undisturbed.last.state_digest


async def test_a_copy_leaves_when_nobody_holds_it(city: City, zygote: Zygote) -> None:
    async with held(zygote, city.lay_out("let go"), the_plan()) as (child, _):
        snapshot = await child.take_snapshot("first")
        assert snapshot.alive
        assert snapshot.memory_bytes() > 0
        await leaves(snapshot)
        with pytest.raises(ChildGone):
            await snapshot.wake(the_plan(), limits=ChildLimits())
    await eventually(lambda: family(zygote.pid) == [zygote.pid])


async def test_a_copy_that_dies_is_no_longer_alive(city: City, zygote: Zygote) -> None:
    async with held(zygote, city.lay_out("dead copy"), the_plan()) as (child, _):
        snapshot = await child.take_snapshot("first")
        os.kill(snapshot.pid, signal.SIGKILL)
        await snapshot.left()
        assert not snapshot.alive
    await eventually(lambda: family(zygote.pid) == [zygote.pid])


async def test_the_other_engine_refuses(city: City, zygote: Zygote) -> None:
    what = plan(Engine.ENGINE_TRACI, end_time_s=END_S)
    async with held(zygote, city.lay_out("traci"), what) as (child, _):
        with pytest.raises(ChildRefused, match="another process"):
            await child.take_snapshot("first")


async def test_copies_are_lost_with_the_zygote(city: City) -> None:
    zygote = await Zygote.start()
    try:
        async with held(zygote, city.lay_out("zygote lost"), the_plan()) as (child, _):
            snapshot = await child.take_snapshot("first")
            pids = family(zygote.pid)
            assert snapshot.pid in pids
            os.kill(zygote.pid, signal.SIGKILL)
            await snapshot.left()
            assert not snapshot.alive
        await until_gone(pids)
    finally:
        await zygote.close()


async def leaves(snapshot: Snapshot) -> None:
    pid = snapshot.pid
    snapshot.close()
    await snapshot.left()
    await until_gone([pid])


async def test_copies_that_stay_after_the_end_are_woken_in_turn_and_all_leave_when_told_to(
    city: City, zygote: Zygote
) -> None:
    lingering, key, what = Lingering(8), ("t", "s"), the_plan(lingers=True)
    directory = city.lay_out("stays")
    child = await zygote.launch(what, directory, ChildLimits())
    heard = await to_the_end(child)
    assert heard.finished is not None
    assert heard.finished.lingers
    kept = Kept(1, await child.lingering, Started())
    place = {"step": int(END_S), "journal_length": 0, "planned_length": 0}
    lingering.stay(key, kept, for_s=60)
    assert lingering.find(key, run=1, **place) == kept
    assert lingering.find(key, run=2, **place) is None
    assert lingering.find(key, run=1, **{**place, "step": int(END_S) - 1}) is None
    stay = await lingering.take(key)
    # While it is woken the next one waits, and gets what was left in its place.
    waits = asyncio.create_task(lingering.take(key))
    later = the_plan()
    later.end_time_s, later.hold_at_step = END_S + 30, int(END_S) + 13
    woken = await stay.kept.snapshot.wake(
        later, keep_as="next", directory=city.lay_out("stays woken"), limits=ChildLimits()
    )
    assert woken.kept is not None
    assert not waits.done()
    lingering.give_back(key, stay, await woken.kept)
    assert (await waits).kept.snapshot.snapshot_id == "next"
    heard = Run()
    async with heard.listening_to(woken):
        await heard.until("halted")
        # Another session for the kernel, too: those that were woken do not share one's part of the processors.
        assert os.getsid(woken.pid) == woken.pid
        woken.kill()
    await woken.exited()
    # Told to leave while it is taken, it leaves when it comes back.
    assert lingering.leave_all() == 1
    lingering.give_back(key, stay, None)
    with pytest.raises(ChildGone):
        await lingering.take(key)
    await leaves(stay.kept.snapshot)
