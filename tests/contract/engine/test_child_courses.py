"""How a session moves and what it tells on its way, on both engines."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from child_runs import City, Run, plan, run

from milepost.child.v1.child_pb2 import ChildCommand, Plan, Resumption, SnapshotPlace
from milepost.event.v1.event_pb2 import (
    EventKind,
    IntervalClosed,
    MilestoneReached,
    PhaseEnded,
    RunUntilCommand,
    SetPaceCommand,
    StepCommand,
)
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import Engine, KpiGoal, KpiName, MilestoneRule, PhaseKind, PlannedPhase
from sim_worker.gateways.child_process import Child, ChildLimits
from sim_worker.gateways.zygote import Zygote

pytestmark = pytest.mark.asyncio(loop_scope="module")

EngineKind = Engine.ValueType

END_S = 100.0
# In the middle of an interval, with vehicles under way.
HELD_AT = 43
# Enough wall time for commands to overtake the simulation.
SLOW = 100.0
COUNTS = ("loaded", "departed", "arrived", "teleports", "collisions", "trips")
MEANS = ("mean_route_length_m", "mean_travel_time_s", "mean_waiting_time_s", "mean_time_loss_s")
PHASES = [
    PlannedPhase(name="filling", kind=PhaseKind.PHASE_KIND_WARM_UP, duration_s=25),
    PlannedPhase(name="measured", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=33),
    PlannedPhase(name="emptying", kind=PhaseKind.PHASE_KIND_COOL_DOWN, duration_s=900),
]
# SUMO teleports who waits at a red light.
IMPATIENT = ("--time-to-teleport", "6")
GRIDLOCK_SHARE = 0.2
MILESTONES = [
    MilestoneRule(kpi=KpiGoal(kpi=KpiName.KPI_NAME_DEPARTED, at_least=10)),
    MilestoneRule(teleport_burst=1),
    MilestoneRule(gridlock_share=GRIDLOCK_SHARE),
]
# What SUMO's state files restore exactly.
SIMPLE = """
<routes>
    <vType id="car" sigma="0" speedDev="0"/>
    <flow id="east" type="car" begin="0" end="60" period="3" from="A0B0" to="C2C1"/>
    <flow id="west" type="car" begin="0" end="60" period="4" from="C2B2" to="A0A1"/>
</routes>
"""


def the_plan(engine: EngineKind, *extra: str, **fields: object) -> Plan:
    made = plan(engine, *extra, end_time_s=END_S)
    made.MergeFrom(Plan(**fields))  # type: ignore[arg-type]
    return made


@asynccontextmanager
async def moving(
    zygote: Zygote, city: City, name: str, what: Plan, *, traffic: str | None = None
) -> AsyncIterator[tuple[Child, Run]]:
    """A child, heard to its end; what the body leaves standing moves on."""
    directory = city.lay_out(name) if traffic is None else city.lay_out(name, traffic=traffic)
    child = await zygote.launch(what, directory, ChildLimits())
    heard = Run()
    async with heard.listening_to(child):
        yield child, heard
        await child.command(ChildCommand(command_id="on", set_pace=SetPaceCommand()))
        await child.exited()
    assert heard.failed is None, heard.failed
    assert heard.finished is not None


def halts(heard: Run) -> list[int]:
    return [halted.step for halted in heard.others["halted"]]


def kpis_by_step(heard: Run) -> dict[int, Kpis]:
    return {interval.step: IntervalClosed.FromString(interval.payload).kpis for interval in heard.intervals}


def milestones(heard: Run) -> list[tuple[int, int]]:
    """Rule and step of each."""
    return [
        (MilestoneReached.FromString(told.payload).rule, told.step)
        for told in heard.others["told"]
        if told.kind == EventKind.EVENT_KIND_MILESTONE_REACHED
    ]


def phases(heard: Run) -> list[tuple[int, Kpis]]:
    """Step and KPIs of the end of each."""
    return [
        (told.step, PhaseEnded.FromString(told.payload).kpis)
        for told in heard.others["told"]
        if told.kind == EventKind.EVENT_KIND_PHASE_ENDED
    ]


async def test_a_pace_takes_the_wall_time_it_says_and_changes_no_result(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    free = await run(zygote, city.lay_out(f"free {engine}"), the_plan(engine))
    began = time.monotonic()
    paced = await run(zygote, city.lay_out(f"paced {engine}"), the_plan(engine, pace=SLOW))
    assert time.monotonic() - began >= 0.9 * END_S / SLOW
    assert paced.payloads == free.payloads


async def test_it_runs_until_a_time_and_stands_there(city: City, zygote: Zygote, engine: EngineKind) -> None:
    async with moving(zygote, city, f"until {engine}", the_plan(engine, hold_at_step=5)) as (child, heard):
        await heard.until("halted")
        # Between two steps: it stands at the first one at or after it.
        command = RunUntilCommand(sim_time_s=36.2)
        await child.command(ChildCommand(command_id="until", run_until=command))
        halted = await heard.until("halted", count=2)
        assert (halted.step, halted.sim_time_s) == (37, 37.0)
    assert halts(heard) == [5, 37]


async def test_of_two_steps_the_later_one_counts(city: City, zygote: Zygote, engine: EngineKind) -> None:
    async with moving(zygote, city, f"steps {engine}", the_plan(engine, hold_at_step=20)) as (child, heard):
        await heard.until("halted")
        await child.command(ChildCommand(command_id="slow", set_pace=SetPaceCommand(factor=SLOW)))
        await child.command(ChildCommand(command_id="long", step=StepCommand(steps=60)))
        await heard.until("applied", count=2)
        await child.command(ChildCommand(command_id="short", step=StepCommand(steps=7)))
        await heard.until("halted", count=2)
    applied = {applied.command_id: applied.step for applied in heard.others["applied"]}
    # The new pace set it going, so both find it under way.
    assert 20 <= applied["long"] <= applied["short"]
    assert halts(heard) == [20, applied["short"] + 7]


async def test_a_hold_stays_ahead_whatever_the_pace(city: City, zygote: Zygote, engine: EngineKind) -> None:
    what = the_plan(engine, hold_at_step=60, pace=SLOW)
    async with moving(zygote, city, f"hold {engine}", what) as (child, heard):
        await child.command(ChildCommand(command_id="quick", set_pace=SetPaceCommand()))
        assert (await heard.until("halted")).step == 60
    assert heard.others["applied"][0].step < 60
    assert halts(heard) == [60]


async def test_a_pause_takes_the_place_of_the_hold_ahead(city: City, zygote: Zygote, engine: EngineKind) -> None:
    what = the_plan(engine, hold_at_step=90, pace=SLOW)
    async with moving(zygote, city, f"pause {engine}", what) as (child, heard):
        await child.command(ChildCommand(command_id="pause", set_pace=SetPaceCommand(paused=True)))
        assert (await heard.until("halted")).step < 90
    assert len(halts(heard)) == 1


async def test_phases_follow_each_other_and_their_kpis_add_up(city: City, zygote: Zygote, engine: EngineKind) -> None:
    heard = await run(zygote, city.lay_out(f"phases {engine}"), the_plan(engine, phases=PHASES))
    ended = phases(heard)
    # The last phase ends with the run.
    assert [step for step, _ in ended] == [25, 58, 100]
    whole = heard.last.kpis
    for name in COUNTS:
        assert sum(getattr(kpis, name) for _, kpis in ended) == getattr(whole, name)
    assert whole.trips > 0
    for name in MEANS:
        weighed = sum(getattr(kpis, name) * kpis.trips for _, kpis in ended) / whole.trips
        assert weighed == pytest.approx(getattr(whole, name), abs=0.05)
    assert sum(kpis.total_travel_time_s for _, kpis in ended) == pytest.approx(whole.total_travel_time_s)
    plain = await run(zygote, city.lay_out(f"phases without {engine}"), the_plan(engine))
    assert heard.payloads == plain.payloads


async def test_milestones_are_told_when_the_kpis_say_so(city: City, zygote: Zygote, engine: EngineKind) -> None:
    heard = await run(zygote, city.lay_out(f"milestones {engine}"), the_plan(engine, *IMPATIENT, milestones=MILESTONES))
    kpis = kpis_by_step(heard)
    steps = sorted(kpis)
    departed = next(step for step in steps if kpis[step].departed >= 10)
    gridlock = next(step for step in steps if kpis[step].halting >= GRIDLOCK_SHARE * max(1, kpis[step].running))
    before = dict(zip(steps, [0, *(kpis[step].teleports for step in steps)], strict=False))
    bursts = [step for step in steps if kpis[step].teleports > before[step]]
    assert len(bursts) > 1
    told = milestones(heard)
    assert [step for rule, step in told if rule == 0] == [departed]
    assert [step for rule, step in told if rule == 1] == bursts
    assert [step for rule, step in told if rule == 2] == [gridlock]
    assert told == sorted(told, key=lambda reached: reached[1])


async def test_what_is_described_is_what_an_interval_that_ends_there_says(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    ended = await run(zygote, city.lay_out(f"ended {engine}"), plan(engine, end_time_s=float(HELD_AT)))
    async with moving(zygote, city, f"described {engine}", the_plan(engine, hold_at_step=HELD_AT)) as (child, heard):
        await heard.until("halted")
        state = await child.describe()
        assert state == await child.describe()
    assert (state.step, state.sim_time_s) == (HELD_AT, float(HELD_AT))
    assert state.kpis == ended.last.kpis
    assert state.state_digest == ended.last.state_digest
    assert len(state.vehicles.ids) == state.kpis.running > 0
    assert len(state.persons.ids) == state.kpis.persons == 1
    plain = await run(zygote, city.lay_out(f"not described {engine}"), the_plan(engine))
    assert heard.payloads == plain.payloads


async def written(zygote: Zygote, city: City, name: str, what: Plan, traffic: str) -> tuple[SnapshotPlace, bytes, Run]:
    """Where a run wrote a state file, the file, and the run to its end."""
    async with moving(zygote, city, name, what, traffic=traffic) as (child, heard):
        await heard.until("halted")
        place = (await child.write_state("state.xml.gz")).place
    return place, (city.folder / name / "state.xml.gz").read_bytes(), heard


def behind(place: SnapshotPlace) -> Resumption:
    return Resumption(
        step=place.step,
        state_digest=place.interval_digest,
        kpis=place.kpis,
        milestones_reached=place.milestones_reached,
        phase_kpis=place.phase_kpis,
        interval_kpis=place.interval_kpis,
    )


async def test_from_a_state_file_it_tells_what_the_undisturbed_run_tells(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    fields: dict[str, object] = {"phases": PHASES, "milestones": MILESTONES}
    what = the_plan(engine, *IMPATIENT, hold_at_step=HELD_AT, **fields)
    place, state, first = await written(zygote, city, f"written {engine}", what, SIMPLE)
    directory = city.lay_out(f"loaded {engine}", traffic=SIMPLE)
    (directory / "state.xml.gz").write_bytes(state)
    again = await run(
        zygote,
        directory,
        the_plan(engine, *IMPATIENT, state_file="state.xml.gz", resumption=behind(place), **fields),
    )
    assert again.failed is None, again.failed
    there, here = kpis_by_step(first), kpis_by_step(again)
    assert list(here) == [step for step in there if step > HELD_AT]
    assert again.last.state_digest == first.last.state_digest
    for step, kpis in here.items():
        assert kpis.approximate_trips
        assert _rounded(kpis) == pytest.approx(_rounded(there[step]), abs=0.02)
        assert [getattr(kpis, name) for name in COUNTS] == [getattr(there[step], name) for name in COUNTS]
    assert milestones(again) == [told for told in milestones(first) if told[1] > HELD_AT]
    assert [(step, kpis.departed, kpis.trips) for step, kpis in phases(again)] == [
        (step, kpis.departed, kpis.trips) for step, kpis in phases(first) if step > HELD_AT
    ]


async def test_what_a_file_has_restored_is_counted_once_however_often_it_is_restored(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    what = the_plan(engine, hold_at_step=HELD_AT)
    place, state, first = await written(zygote, city, f"first {engine}", what, SIMPLE)
    directory = city.lay_out(f"second {engine}", traffic=SIMPLE)
    (directory / "state.xml.gz").write_bytes(state)
    what = the_plan(engine, state_file="state.xml.gz", resumption=behind(place), hold_at_step=71)
    child = await zygote.launch(what, directory, ChildLimits())
    heard = Run()
    async with heard.listening_to(child):
        await heard.until("halted")
        state_again = await child.describe()
        await child.command(ChildCommand(command_id="on", set_pace=SetPaceCommand()))
        await child.exited()
    async with moving(zygote, city, f"beside {engine}", the_plan(engine, hold_at_step=71), traffic=SIMPLE) as beside:
        await beside[1].until("halted")
        expected = await beside[0].describe()
    assert state_again.state_digest == expected.state_digest
    assert [getattr(state_again.kpis, name) for name in COUNTS] == [getattr(expected.kpis, name) for name in COUNTS]
    assert heard.last.state_digest == first.last.state_digest


def _rounded(kpis: Kpis) -> Sequence[float]:
    return [getattr(kpis, name) for name in (*MEANS, "total_travel_time_s", "total_depart_delay_s")]


async def test_the_past_is_simulated_at_full_speed_and_stands_for_nothing(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    # At this pace the past alone would take minutes.
    what = the_plan(engine, pace=0.5, replay_to_step=90, hold_at_step=30)
    async with moving(zygote, city, f"past {engine}", what) as (_, heard):
        assert (await heard.until("halted")).step == 90
    assert halts(heard) == [90]
