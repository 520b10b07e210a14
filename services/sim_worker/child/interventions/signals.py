"""What signals do."""

from functools import partial

from milepost.intervention.v1.intervention_pb2 import AddSignalProgram, SetSignal
from sim_worker.child.interventions.looks import Changes, Looks, Refusal

_OFF = "off"
# A fixed-time program.
_STATIC = 0


def set_signal(looks: Looks, asked: SetSignal) -> Changes:
    """Raises Refusal."""
    looks.signal(asked.signal_id, "signal_id")
    lights, signal = looks.api.trafficlight, asked.signal_id
    match asked.WhichOneof("to"):
        case "program_id":
            if asked.program_id != _OFF and asked.program_id not in _programs(looks, signal):
                raise Refusal(f"signal {signal} has no program {asked.program_id}", "program_id")
            return [partial(lights.setProgram, signal, asked.program_id)]
        case "phase":
            phases = _programs(looks, signal).get(lights.getProgram(signal), 0)
            if not 0 <= asked.phase < phases:
                raise Refusal(f"the present program of signal {signal} has {phases} phases", "phase")
            changes: Changes = [partial(lights.setPhase, signal, asked.phase)]
            if asked.HasField("duration_s"):
                changes.append(partial(lights.setPhaseDuration, signal, asked.duration_s))
            return changes
        case "state":
            _fits(looks, signal, asked.state, "state")
            return [partial(lights.setRedYellowGreenState, signal, asked.state)]
    raise Refusal("it does not say what the signal is to do", "to")


def add_signal_program(looks: Looks, asked: AddSignalProgram) -> Changes:
    """Raises Refusal."""
    looks.signal(asked.signal_id, "signal_id")
    lights, signal = looks.api.trafficlight, asked.signal_id
    if not asked.program_id or asked.program_id == _OFF or asked.program_id in _programs(looks, signal):
        raise Refusal(f"signal {signal} has a program {asked.program_id} already", "program_id")
    if not asked.phases:
        raise Refusal("a program needs a phase", "phases")
    for phase in asked.phases:
        _fits(looks, signal, phase.state, "phases.state")
    phases = [lights.Phase(phase.duration_s, phase.state) for phase in asked.phases]
    logic = lights.Logic(asked.program_id, _STATIC, 0, phases)
    return [partial(lights.setProgramLogic, signal, logic), partial(lights.setProgram, signal, asked.program_id)]


def _programs(looks: Looks, signal_id: str) -> dict[str, int]:
    """Programs of a signal with the number of their phases."""
    logics = looks.api.trafficlight.getAllProgramLogics(signal_id)
    return {logic.programID: len(logic.phases) for logic in logics}


def _fits(looks: Looks, signal_id: str, state: str, field: str) -> None:
    """SUMO itself would take any length, and go wrong later."""
    links = len(looks.api.trafficlight.getControlledLinks(signal_id))
    if len(state) != links:
        raise Refusal(f"signal {signal_id} has {links} links, the state has {len(state)}", field)
