"""What single interventions do to the simulation, on both engines."""

from collections.abc import Sequence

import pytest
from child_runs import City, Run, plan, run

from milepost.child.v1.child_pb2 import ChildCommand, Plan
from milepost.event.v1.event_pb2 import IntervalClosed, JournalEntry, RunUntilCommand, SetPaceCommand
from milepost.intervention.v1 import intervention_pb2 as change
from milepost.intervention.v1.intervention_pb2 import Intervention, Place
from milepost.session.v1.session_pb2 import Engine
from milepost.state.v1.state_pb2 import SimulationState
from sim_worker.gateways.child_process import Child, ChildLimits
from sim_worker.gateways.zygote import Zygote

pytestmark = pytest.mark.asyncio(loop_scope="module")

EngineKind = Engine.ValueType

END_S = 120.0
CHANGED_AT = 23
SIGNAL = "B1"
EAST_AND_WEST = """
    <flow id="east" type="car" begin="0" end="60" period="3" from="A0B0" to="C2C1"/>
    <flow id="west" type="car" begin="0" end="60" period="4" from="C2B2" to="A0A1"/>
"""
ONE_BY_ONE = "\n".join(
    f'<vehicle id="own{number}" type="car" depart="{3 * number}"><route edges="A0B0 B0C0"/></vehicle>'
    for number in range(20)
)


def routes(*parts: str) -> str:
    return "\n".join(["<routes>", '<vType id="car" speedDev="0"/>', *parts, "</routes>"])


def journal(*interventions: Intervention, step: int = CHANGED_AT) -> list[JournalEntry]:
    return [
        JournalEntry(step=step, command_id=f"change {number}", intervention=intervention)
        for number, intervention in enumerate(interventions)
    ]


def the_plan(engine: EngineKind, *extra: str, **fields: object) -> Plan:
    made = plan(engine, *extra, end_time_s=END_S)
    made.MergeFrom(Plan(**fields))  # type: ignore[arg-type]
    return made


async def looks(
    zygote: Zygote,
    city: City,
    name: str,
    what: Plan,
    steps: Sequence[int],
    *,
    checks: Sequence[Intervention] = (),
    traffic: str = routes(EAST_AND_WEST),
) -> tuple[list[SimulationState], list[str], Run]:
    """States at some steps; the fields for which the last of them refuses what is to be checked; the run."""
    what.hold_at_step = steps[0]
    child = await zygote.launch(what, city.lay_out(name, traffic=traffic), ChildLimits())
    heard = Run()
    states = []
    async with heard.listening_to(child):
        for number, step in enumerate(steps):
            if number:
                await _until(child, float(step))
            assert (await heard.until("halted", count=number + 1)).step == step
            states.append(await child.describe())
        refused = [(await child.check(intervention)).field for intervention in checks]
        await child.command(ChildCommand(command_id="on", set_pace=SetPaceCommand()))
        await child.exited()
    assert heard.failed is None, heard.failed
    return states, refused, heard


async def _until(child: Child, time_s: float) -> None:
    await child.command(ChildCommand(command_id=f"{time_s}", run_until=RunUntilCommand(sim_time_s=time_s)))


def lights(state: SimulationState) -> str:
    return state.signals.states[list(state.signals.ids).index(SIGNAL)]


def speed_mps(state: SimulationState, vehicle_id: str) -> float:
    return state.vehicles.speed_mps[list(state.vehicles.ids).index(vehicle_id)]


async def links(zygote: Zygote, city: City, name: str, engine: EngineKind) -> int:
    states, _, _ = await looks(zygote, city, name, the_plan(engine), [1])
    return len(lights(states[0]))


async def test_a_signal_keeps_the_state_it_was_given(city: City, zygote: Zygote, engine: EngineKind) -> None:
    state = "r" * await links(zygote, city, f"links {engine}", engine)
    asked = change.SetSignal(signal_id=SIGNAL, state=state)
    what = the_plan(engine, journal=journal(Intervention(set_signal=asked)))
    states, _, _ = await looks(zygote, city, f"kept {engine}", what, [CHANGED_AT, 24, 60, 119])
    # Described where it stands, which is after the journal of that step.
    assert [lights(there) for there in states] == [state] * 4


async def test_a_new_program_runs_its_phases_for_ever(city: City, zygote: Zygote, engine: EngineKind) -> None:
    count = await links(zygote, city, f"links of a program {engine}", engine)
    asked = change.AddSignalProgram(
        signal_id=SIGNAL,
        program_id="mine",
        phases=[
            change.SignalPhase(duration_s=7, state="G" * count),
            change.SignalPhase(duration_s=11, state="r" * count),
        ],
    )
    what = the_plan(engine, journal=journal(Intervention(add_signal_program=asked)))
    steps = list(range(CHANGED_AT + 1, CHANGED_AT + 1 + 54))
    states, _, _ = await looks(zygote, city, f"program {engine}", what, steps)
    shown = "".join(lights(state)[0] for state in states)
    cycle = "G" * 7 + "r" * 11
    start = next(offset for offset in range(len(cycle)) if (cycle * 4)[offset:].startswith(shown))
    assert shown == (cycle * 4)[start : start + len(shown)]
    assert start <= 1


async def test_who_was_stopped_drives_on_when_released(city: City, zygote: Zygote, engine: EngineKind) -> None:
    stop = Intervention(stop_vehicle=change.StopVehicle(vehicle_id="east.2", duration_s=1000))
    go = Intervention(release_vehicle=change.ReleaseVehicle(vehicle_id="east.2"))
    standing = the_plan(engine, journal=journal(stop, step=10))
    [stands, still], _, _ = await looks(zygote, city, f"stopped {engine}", standing, [40, 110])
    assert speed_mps(stands, "east.2") == speed_mps(still, "east.2") == 0
    released = the_plan(engine, journal=[*journal(stop, step=10), *journal(go, step=40)])
    states, _, _ = await looks(zygote, city, f"released {engine}", released, [44])
    assert speed_mps(states[0], "east.2") > 0


async def test_what_is_opened_to_some_stays_closed_to_others(city: City, zygote: Zygote, engine: EngineKind) -> None:
    place = Place(edge_ids=["B0B1"])
    asked = journal(
        Intervention(close=change.Close(place=place)),
        Intervention(open=change.Open(place=place, vehicle_classes=["bus", "bicycle"])),
    )
    traffic = routes('<vType id="coach" vClass="bus"/>', EAST_AND_WEST)
    checks = [
        Intervention(
            add_vehicle=change.AddVehicle(vehicle_id="new", route_edges=["A0B0", "B0B1", "B1B2"], type_id=type_id)
        )
        for type_id in ("car", "coach")
    ]
    what = the_plan(engine, "--ignore-route-errors", journal=asked)
    _, refused, _ = await looks(
        zygote, city, f"opened {engine}", what, [CHANGED_AT + 1], checks=checks, traffic=traffic
    )
    assert refused == ["route_edges", ""]


async def test_new_ways_lead_around_a_jam(city: City, zygote: Zygote, engine: EngineKind) -> None:
    # There are two ways of equal length; all take the one that comes to a stand.
    traffic = routes(
        '<vehicle id="wreck" type="car" depart="0"><route edges="A0B0 B0C0"/></vehicle>',
        '<flow id="behind" type="car" begin="2" end="9" period="2"><route edges="A0B0 B0C0"/></flow>',
        '<flow id="east" type="car" begin="38" end="46" period="3"><route edges="A2A1 A1A0 A0B0 B0C0"/></flow>',
    )
    stop = change.StopVehicle(vehicle_id="wreck", duration_s=900, edge_id="A0B0", position_m=80, lane_index=1)
    accident = journal(Intervention(stop_vehicle=stop), step=1)
    around = journal(Intervention(reroute=change.Reroute(vehicle_ids=["east.0", "east.1", "east.2"])), step=47)
    arrived = []
    for entries in (accident, [*accident, *around]):
        what = plan(engine, "--time-to-teleport", "-1", end_time_s=300)
        what.journal.extend(entries)
        heard = await run(zygote, city.lay_out(f"{len(entries)} changes {engine}", traffic=traffic), what)
        arrived.append(heard.last.kpis.arrived)
    assert arrived == [0, 3]


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        # 18 of 35 have departed when it is said.
        (0.0, 18),
        # SUMO counts from the begin: half of 35.
        (0.5, 18),
        (1.0, 35),
        (2.0, 18 + 2 * (35 - 18)),
    ],
)
async def test_demand_is_scaled_for_flows(
    city: City, zygote: Zygote, engine: EngineKind, factor: float, expected: int
) -> None:
    scaled = Intervention(scale_demand=change.ScaleDemand(factor=factor))
    what = the_plan(engine, journal=journal(scaled, step=30))
    directory = city.lay_out(f"flows {factor} {engine}", traffic=routes(EAST_AND_WEST))
    heard = await run(zygote, directory, what)
    departed = {
        interval.step: IntervalClosed.FromString(interval.payload).kpis.departed for interval in heard.intervals
    }
    assert departed[30] == 18
    # One more or less: SUMO rounds.
    assert abs(heard.last.kpis.departed - expected) <= 2


async def test_vehicles_named_one_by_one_are_not_scaled(city: City, zygote: Zygote, engine: EngineKind) -> None:
    scaled = Intervention(scale_demand=change.ScaleDemand(factor=3))
    directory = city.lay_out(f"one by one {engine}", traffic=routes(ONE_BY_ONE))
    heard = await run(zygote, directory, the_plan(engine, journal=journal(scaled)))
    assert heard.last.kpis.departed == 20
