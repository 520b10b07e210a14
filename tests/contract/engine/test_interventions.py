"""Every kind of intervention takes effect, refuses what does not exist, and repeats byte for byte."""

import pytest
from child_runs import City, Run, plan, run

from milepost.child.v1.child_pb2 import ChildCommand, Plan
from milepost.event.v1.event_pb2 import JournalEntry, SetPaceCommand, StepCommand
from milepost.intervention.v1 import intervention_pb2 as change
from milepost.intervention.v1.intervention_pb2 import Intervention, Place
from milepost.session.v1.session_pb2 import Engine
from sim_worker.gateways.child_process import ChildLimits
from sim_worker.gateways.zygote import Zygote

pytestmark = pytest.mark.asyncio(loop_scope="module")

EngineKind = Engine.ValueType

END_S = 100.0
# Between two ends of intervals, with vehicles under way.
APPLIED_AT = 23
OPTIONS = ("--ignore-route-errors",)

KINDS = {
    "close an edge": Intervention(close=change.Close(place=Place(edge_ids=["B0B1"]))),
    "close a lane to a class": Intervention(
        close=change.Close(place=Place(lane_ids=["B0B1_1"]), vehicle_classes=["passenger"])
    ),
    "speed limit": Intervention(set_speed_limit=change.SetSpeedLimit(place=Place(edge_ids=["A0B0"]), speed_mps=2)),
    "signal off": Intervention(set_signal=change.SetSignal(signal_id="B0", program_id="off")),
    "signal phase": Intervention(set_signal=change.SetSignal(signal_id="B0", phase=2, duration_s=50)),
    "add a vehicle": Intervention(add_vehicle=change.AddVehicle(vehicle_id="new", route_edges=["A0B0", "C2C1"])),
    "add a person": Intervention(
        add_person=change.AddPerson(person_id="new", walk_edges=["A0B0", "B0C0"], depart_position_m=3)
    ),
    "remove a vehicle": Intervention(remove_vehicles=change.RemoveVehicles(vehicle_ids=["east.2"])),
    "another destination": Intervention(reroute=change.Reroute(vehicle_ids=["east.2"], target_edge_id="B1A1")),
    "an incident": Intervention(stop_vehicle=change.StopVehicle(vehicle_id="east.2", duration_s=30)),
    "more demand": Intervention(scale_demand=change.ScaleDemand(factor=3)),
    "slow down": Intervention(set_vehicle=change.SetVehicle(vehicle_id="east.2", max_speed_mps=2)),
}
REFUSED = {
    "edge": (Intervention(close=change.Close(place=Place(edge_ids=["nowhere"]))), "place.edge_ids"),
    "lane": (Intervention(open=change.Open(place=Place(lane_ids=["nowhere_0"]))), "place.lane_ids"),
    "class": (
        Intervention(close=change.Close(place=Place(edge_ids=["A0B0"]), vehicle_classes=["tank"])),
        "vehicle_classes",
    ),
    "signal": (Intervention(set_signal=change.SetSignal(signal_id="nowhere", phase=0)), "signal_id"),
    "program": (Intervention(set_signal=change.SetSignal(signal_id="B0", program_id="nothing")), "program_id"),
    "phase": (Intervention(set_signal=change.SetSignal(signal_id="B0", phase=77)), "phase"),
    "length of a state": (Intervention(set_signal=change.SetSignal(signal_id="B0", state="rr")), "state"),
    "program without links": (
        Intervention(
            add_signal_program=change.AddSignalProgram(
                signal_id="B0", program_id="mine", phases=[change.SignalPhase(duration_s=9, state="G")]
            )
        ),
        "phases.state",
    ),
    "no way": (
        Intervention(add_vehicle=change.AddVehicle(vehicle_id="new", route_edges=["A0B0", "C2C1", "A0B0"])),
        "route_edges",
    ),
    "vehicle twice": (
        Intervention(add_vehicle=change.AddVehicle(vehicle_id="east.2", route_edges=["A0B0"])),
        "vehicle_id",
    ),
    "vehicle type": (
        Intervention(add_vehicle=change.AddVehicle(vehicle_id="new", route_edges=["A0B0"], type_id="tank")),
        "type_id",
    ),
    "walk": (
        Intervention(add_person=change.AddPerson(person_id="new", walk_edges=["A0B0", "C2C1"])),
        "walk_edges",
    ),
    "vehicle to remove": (
        Intervention(remove_vehicles=change.RemoveVehicles(vehicle_ids=["east.2", "nobody"])),
        "vehicle_ids",
    ),
    "destination": (Intervention(reroute=change.Reroute(target_edge_id="nowhere")), "target_edge_id"),
    "stop off the way": (
        Intervention(stop_vehicle=change.StopVehicle(vehicle_id="east.2", duration_s=9, edge_id="A1A0")),
        "edge_id",
    ),
    "nothing to release": (
        Intervention(release_vehicle=change.ReleaseVehicle(vehicle_id="east.2")),
        "vehicle_id",
    ),
    "vehicle to set": (
        Intervention(set_vehicle=change.SetVehicle(vehicle_id="nobody", speed_mps=3)),
        "vehicle_id",
    ),
}


def the_plan(engine: EngineKind, **fields: object) -> Plan:
    made = plan(engine, *OPTIONS, end_time_s=END_S)
    made.MergeFrom(Plan(**fields))  # type: ignore[arg-type]
    return made


async def commanded(zygote: Zygote, city: City, name: str, engine: EngineKind, asked: list[Intervention]) -> Run:
    """A run that stands at a step, is told to change things, and goes on to its end."""
    child = await zygote.launch(the_plan(engine, hold_at_step=APPLIED_AT), city.lay_out(name), ChildLimits())
    heard = Run()
    async with heard.listening_to(child):
        await heard.until("halted")
        for number, intervention in enumerate(asked):
            await child.command(ChildCommand(command_id=f"change {number}", intervention=intervention))
            # A step of its own for each.
            await child.command(ChildCommand(command_id=f"step {number}", step=StepCommand(steps=1)))
            await heard.until("halted", count=number + 2)
        await child.command(ChildCommand(command_id="on", set_pace=SetPaceCommand()))
        await child.exited()
    return heard


@pytest.mark.parametrize("kind", KINDS)
async def test_it_takes_effect_and_repeats_byte_for_byte(
    city: City, zygote: Zygote, engine: EngineKind, kind: str
) -> None:
    name = f"{kind} {engine}"
    undisturbed = await run(zygote, city.lay_out(f"{name} without"), the_plan(engine))
    live = await commanded(zygote, city, name, engine, [KINDS[kind]])
    assert live.others["refused"] == []
    assert live.finished is not None
    applied = live.others["applied"][0]
    assert (applied.command_id, applied.step) == ("change 0", APPLIED_AT)
    journal = [JournalEntry(step=applied.step, command_id=applied.command_id, intervention=KINDS[kind])]
    again = await run(
        zygote, city.lay_out(f"{name} again"), the_plan(engine, journal=journal, replay_to_step=APPLIED_AT)
    )
    assert again.payloads == live.payloads
    assert again.finished == live.finished
    assert live.last.state_digest != undisturbed.last.state_digest


async def test_many_at_their_own_steps_repeat_byte_for_byte(city: City, zygote: Zygote, engine: EngineKind) -> None:
    asked = list(KINDS.values())
    live = await commanded(zygote, city, f"many {engine}", engine, asked)
    steps = {applied.command_id: applied.step for applied in live.others["applied"]}
    journal = [
        JournalEntry(step=steps[f"change {number}"], command_id=f"change {number}", intervention=intervention)
        for number, intervention in enumerate(asked)
        if f"change {number}" in steps
    ]
    assert len(journal) > len(asked) // 2
    again = await run(zygote, city.lay_out(f"many again {engine}"), the_plan(engine, journal=journal))
    assert again.payloads == live.payloads


async def test_what_does_not_exist_is_refused_by_its_field_and_changes_nothing(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    undisturbed = await run(zygote, city.lay_out(f"refused without {engine}"), the_plan(engine))
    child = await zygote.launch(
        the_plan(engine, hold_at_step=APPLIED_AT), city.lay_out(f"refused {engine}"), ChildLimits()
    )
    heard = Run()
    async with heard.listening_to(child):
        await heard.until("halted")
        for name, (intervention, _) in REFUSED.items():
            assert (await child.check(intervention)).field == REFUSED[name][1]
            await child.command(ChildCommand(command_id=name, intervention=intervention))
        await child.command(ChildCommand(command_id="on", set_pace=SetPaceCommand()))
        await child.exited()
    assert {refused.command_id: refused.field for refused in heard.others["refused"]} == {
        name: field for name, (_, field) in REFUSED.items()
    }
    assert heard.payloads == undisturbed.payloads


async def test_what_was_closed_and_opened_again_is_as_it_was_built(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    undisturbed = await run(zygote, city.lay_out(f"open without {engine}"), the_plan(engine))
    place = Place(edge_ids=["B0B1", "A0B0"])
    journal = [
        JournalEntry(step=APPLIED_AT, command_id="close", intervention=Intervention(close=change.Close(place=place))),
        JournalEntry(step=APPLIED_AT, command_id="open", intervention=Intervention(open=change.Open(place=place))),
    ]
    again = await run(zygote, city.lay_out(f"open {engine}"), the_plan(engine, journal=journal))
    assert again.payloads == undisturbed.payloads
