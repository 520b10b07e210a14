"""Small scenarios on which SUMO's own state files fail, and changes that state files forget (determinism.md)."""

import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from milepost.intervention.v1 import intervention_pb2 as change
from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.intervention.v1.intervention_pb2 import Place as NetPlace

CONFIG = "hard.sumocfg"

# Straight through a grid of four crossings, and around a corner of it, from every side.
_WAYS = (
    ("left0A0", "B0right0"),
    ("right1B1", "A1left1"),
    ("bottom0A0", "A1top0"),
    ("top1B1", "B0bottom1"),
    ("left1A1", "B0bottom1"),
    ("right0B0", "A1top0"),
)


def flows(attributes: str, *, end_s: int = 250) -> str:
    """One flow per way."""
    return "\n".join(
        f'<flow id="f{number}" begin="0" end="{end_s}" from="{start}" to="{end}" {attributes}/>'
        for number, (start, end) in enumerate(_WAYS)
    )


_CARS = flows('period="7" departLane="random" departSpeed="max"')
_PLAIN = f'<vType id="car" speedDev="0.1"/>\n{_CARS}'
_PARKING_STOP = '<stop parkingArea="lot" duration="40"/>'
_WALKERS = "\n".join(
    f'<person id="w{number}" depart="{5 * number}"><walk edges="left0A0 A0B0 B0right0"/></person>\n'
    f'<person id="c{number}" depart="{6 * number}"><walk edges="B0B1 B1A1"/></person>'
    for number in range(30)
)
_BUS = """
<vType id="bus" vClass="bus" length="12"/>
<flow id="bus" type="bus" begin="3" end="250" period="45" from="left0A0" to="B0right0">
    <stop busStop="halt" duration="15"/><stop busStop="mall" duration="10"/>
</flow>
"""


@dataclass(frozen=True, slots=True)
class Hard:
    """A scenario in parts; `options` are those of its configuration."""

    routes: str = _PLAIN
    additional: str = ""
    options: str = ""
    signals: str = "static"
    """SUMO's word for how its signals decide; `none`: the right of way alone."""
    interventions: tuple[Intervention, ...] = ()


FEATURES = {
    "actuated signals": Hard(signals="actuated"),
    "delay-based signals": Hard(signals="delay_based"),
    "right before left": Hard(signals="none"),
    "sublane": Hard(options='<lateral-resolution value="0.8"/>'),
    "walks": Hard(routes=f"{_PLAIN}\n{_WALKERS}"),
    "rides": Hard(
        routes=_PLAIN
        + _BUS
        + "\n".join(
            f'<person id="r{number}" depart="{10 * number}"><walk from="left0A0" busStop="halt"/>'
            f'<ride busStop="mall" lines="bus"/><walk to="B0right0"/></person>'
            for number in range(15)
        ),
        additional='<busStop id="halt" lane="left0A0_1" startPos="60" endPos="80"/>'
        '<busStop id="mall" lane="A0B0_1" startPos="50" endPos="70"/>',
    ),
    "containers": Hard(
        routes=_PLAIN
        + '<flow id="lorry" begin="0" end="250" period="60" from="left0A0" to="B0right0">'
        + '<stop edge="left0A0" endPos="60" duration="10"/><stop edge="A0B0" endPos="60" duration="10"/></flow>'
        + "".join(
            f'<container id="box{number}" depart="{20 * number}"><transport from="left0A0" to="A0B0" lines="lorry"/>'
            "</container>"
            for number in range(8)
        ),
    ),
    "parking areas": Hard(
        routes=_PLAIN
        + flows('period="20" departLane="best"').replace('id="f', 'id="p').replace("/>", f">{_PARKING_STOP}</flow>", 1),
        additional='<parkingArea id="lot" lane="A0B0_1" startPos="20" endPos="60" roadsideCapacity="4"/>',
    ),
    "stops": Hard(
        routes=f"{_PLAIN}\n"
        + "".join(
            f'<flow id="s{lane}" begin="{lane * 4}" end="250" period="25" departLane="best" '
            'from="left1A1" to="B1right1">'
            f'<stop lane="A1B1_{lane}" endPos="{30 * lane}" duration="25" until="{60 * lane}"/></flow>'
            for lane in (1, 2)
        ),
    ),
    "taxis": Hard(
        routes=_PLAIN
        + '<vType id="taxi" vClass="taxi"><param key="has.taxi.device" value="true"/></vType>'
        + "".join(
            f'<vehicle id="taxi{number}" type="taxi" depart="0" line="taxi"><route edges="{edge}"/>'
            f'<stop lane="{edge}_1" endPos="40" triggered="person"/></vehicle>'
            for number, edge in enumerate(("A0B0", "B1A1", "A0A1"))
        )
        + "".join(
            f'<person id="t{number}" depart="{5 + 12 * number}">'
            '<ride from="left0A0" to="B0right0" lines="taxi"/></person>'
            for number in range(12)
        ),
    ),
    "scale": Hard(options='<scale value="1.6"/>'),
    "teleports": Hard(
        routes=flows('period="2" departLane="random"'), options='<time-to-teleport value="15"/>', signals="none"
    ),
    "type distributions": Hard(
        routes='<vTypeDistribution id="mix"><vType id="slow" maxSpeed="8" probability="0.4"/>'
        '<vType id="lorry" vClass="truck" length="11" probability="0.2"/>'
        '<vType id="quick" speedFactor="normc(1.2,0.2,0.8,1.6)" probability="0.4"/></vTypeDistribution>'
        + flows('type="mix" period="6"'),
    ),
    "Poisson flows": Hard(routes=flows('period="exp(0.15)" departLane="random"')),
    "random flows": Hard(routes=flows('probability="0.15" departPos="random_free"')),
    "calibrators": Hard(
        routes=_CARS.replace("<flow", '<flow type="car"'),
        additional='<vType id="car" speedDev="0.1"/><route id="west" edges="left1A1 A1B1 B1right1"/>'
        '<calibrator id="cal" edge="left1A1" pos="20" period="20">'
        '<flow begin="0" end="250" route="west" vehsPerHour="900" speed="9" type="car" departSpeed="max"/>'
        "</calibrator>",
    ),
    "action steps": Hard(options='<default.action-step-length value="1"/><step-length value="0.5"/>'),
    "departure offsets": Hard(options='<random-depart-offset value="30"/>'),
    "rerouting devices": Hard(
        routes=flows('period="4" departLane="random"'),
        options='<device.rerouting.probability value="0.7"/><device.rerouting.period value="15"/>'
        '<device.rerouting.adaptation-steps value="18"/>',
    ),
}

_SIGNAL = "A0"
# How many the generated signal has.
_LINKS = 24
_PLACE = NetPlace(edge_ids=["A0B0", "A1B1"])
CHANGES = {
    "signal phase": (Intervention(set_signal=change.SetSignal(signal_id=_SIGNAL, phase=2, duration_s=70)),),
    "signal state": (Intervention(set_signal=change.SetSignal(signal_id=_SIGNAL, state="r" * _LINKS)),),
    "signal program": (
        Intervention(
            add_signal_program=change.AddSignalProgram(
                signal_id=_SIGNAL,
                program_id="mine",
                phases=[
                    change.SignalPhase(duration_s=11, state="G" * _LINKS),
                    change.SignalPhase(duration_s=17, state="r" * _LINKS),
                ],
            )
        ),
    ),
    "signal off": (Intervention(set_signal=change.SetSignal(signal_id=_SIGNAL, program_id="off")),),
    "speeds": (Intervention(set_speed_limit=change.SetSpeedLimit(place=_PLACE, speed_mps=3)),),
    "closed lanes": (
        Intervention(close=change.Close(place=NetPlace(lane_ids=["A0B0_1", "A1B1_2"]), vehicle_classes=["passenger"])),
    ),
    "closed and opened": (
        Intervention(close=change.Close(place=_PLACE)),
        Intervention(set_speed_limit=change.SetSpeedLimit(place=_PLACE, speed_mps=7)),
        Intervention(open=change.Open(place=_PLACE, vehicle_classes=["passenger"])),
    ),
    "a vehicle's speed": (Intervention(set_vehicle=change.SetVehicle(vehicle_id="f0.12", speed_mps=2)),),
    "added vehicles": tuple(
        Intervention(add_vehicle=change.AddVehicle(vehicle_id=f"new{number}", route_edges=["left0A0", "B1right1"]))
        for number in range(4)
    ),
    "an added person": (
        Intervention(add_person=change.AddPerson(person_id="new", walk_edges=["left0A0", "A0B0", "B0B1"])),
    ),
    "an incident": (Intervention(stop_vehicle=change.StopVehicle(vehicle_id="f0.12", duration_s=60)),),
    "scaled demand": (Intervention(scale_demand=change.ScaleDemand(factor=2)),),
    "new ways": (
        Intervention(close=change.Close(place=NetPlace(edge_ids=["A0B0"]), vehicle_classes=["passenger"])),
        Intervention(reroute=change.Reroute()),
    ),
}


def lay_out(folder: Path, hard: Hard) -> None:
    """The files of a scenario, in an empty folder."""
    folder.mkdir(parents=True)
    _generate_net(folder / "hard.net.xml", hard.signals)
    (folder / "hard.rou.xml").write_text(f"<routes>{_sorted(hard.routes)}</routes>")
    (folder / "hard.add.xml").write_text(f"<additional>{hard.additional}</additional>")
    (folder / CONFIG).write_text(
        '<configuration><net-file value="hard.net.xml"/><route-files value="hard.rou.xml"/>'
        f'<additional-files value="hard.add.xml"/><begin value="0"/>{hard.options}</configuration>'
    )


def _sorted(routes: str) -> str:
    """Types and routes, then everybody in the order of departure: SUMO ignores what comes too late in a file."""
    elements = ET.fromstring(f"<routes>{routes}</routes>")
    in_order = sorted(elements, key=lambda found: float(found.get("depart", found.get("begin", -1.0))))
    return "\n".join(ET.tostring(found, encoding="unicode") for found in in_order)


def _generate_net(path: Path, signals: str) -> None:
    decided = ("--default-junction-type", "right_before_left" if signals == "none" else "traffic_light")
    spec = find_spec("sumo")
    assert spec is not None
    assert spec.origin is not None
    subprocess.run(
        [
            str(Path(spec.origin).parent / "bin" / "netgenerate"),
            *("--grid", "--grid.number", "2", "--grid.length", "120", "--grid.attach-length", "100", *decided),
            *("--tls.default-type", "static" if signals == "none" else signals, "--default.lanenumber", "2"),
            *("--sidewalks.guess", "--crossings.guess", "--seed", "1", "--output-file", str(path)),
        ],
        check=True,
        capture_output=True,
    )
