"""The task of a session: checked, resolved into the scene that is run, carried into a new run."""

from collections import Counter
from collections.abc import Sequence

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.event.v1.event_pb2 import RunCause, RunOpened
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Engine, PlannedPhase, SessionSpec
from runtime.errors import FieldViolation
from scenario.options import check_options, override
from scenario.wire import options_from_proto, scene_from_proto, scene_to_proto
from session_api.application.places import Place
from session_api.application.refusals import field_invalid, fields_invalid
from session_log.reader import LogSoFar

DEFAULT_INTERVAL_STEPS = 10
# Interventions of a plan stand in a log's first event, and in each that changes the task, bytes.
MAX_PLANNED_BYTES = 128 * 1024


def with_defaults(asked: SessionSpec) -> SessionSpec:
    """What was asked for, defaults filled in."""
    spec = SessionSpec()
    spec.CopyFrom(asked)
    spec.engine = spec.engine or Engine.ENGINE_LIBSUMO
    spec.interval_steps = spec.interval_steps or DEFAULT_INTERVAL_STEPS
    spec.recovery = spec.recovery or RecoveryPolicy.RECOVERY_POLICY_EXACT
    return spec


def check_spec(spec: SessionSpec, scene: Scene) -> None:
    """What the proto's rules cannot say, against the scenario's own scene. Raises CallRefused(FIELD_INVALID)."""
    violations = [
        FieldViolation("spec.options", f"{finding.rule}: {finding.message}")
        for finding in check_options([(option.name, option.value) for option in spec.options])
    ]
    if not violations:
        resolved = resolve_scene(spec, scene)
        begin_time_s = resolved.begin_time_s
        violations += [
            FieldViolation(f"spec.{name}", f"must be after the scenario's begin, {begin_time_s} s")
            for name in ("end_time_s", "stop_time_s")
            if spec.HasField(name) and getattr(spec, name) <= begin_time_s
        ]
        violations += _wrong_edge_data(spec, resolved)
    if sum(planned.ByteSize() for planned in spec.interventions) > MAX_PLANNED_BYTES:
        violations.append(FieldViolation("spec.interventions", f"are more than {MAX_PLANNED_BYTES} bytes"))
    names = Counter(phase.name for phase in spec.plan)
    violations += [
        FieldViolation("spec.plan", f"the name {name!r} is given to {count} phases")
        for name, count in names.items()
        if count > 1
    ]
    if spec.recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE:
        if not spec.checkpoints.every_sim_s:
            violations.append(FieldViolation("spec.checkpoints.every_sim_s", "REBASE needs a schedule"))
        if spec.engine == Engine.ENGINE_TRACI:
            violations.append(FieldViolation("spec.recovery", "REBASE needs libsumo"))
    if violations:
        raise fields_invalid(violations)


def _wrong_edge_data(spec: SessionSpec, scene: Scene) -> list[FieldViolation]:
    step_ms, interval_ms = round(scene.step_length_s * 1000), round(spec.edge_data.interval_s * 1000)
    if spec.edge_data.interval_s and (not interval_ms or (step_ms and interval_ms % step_ms)):
        words = f"must be a multiple of the scenario's step, {scene.step_length_s:g} s"
        return [FieldViolation("spec.edge_data.interval_s", words)]
    return []


def resolve_scene(spec: SessionSpec, scene: Scene) -> Scene:
    """What is run: the scenario's own scene with the options and the end of the session."""
    resolved = scene_to_proto(override(scene_from_proto(scene), options_from_proto(spec.options)))
    if spec.HasField("end_time_s"):
        resolved.end_time_s = spec.end_time_s
    elif spec.plan:
        resolved.end_time_s = resolved.begin_time_s + _duration_s(spec.plan)
    return resolved


def continued(log: LogSoFar, place: Place, end_time_s: float | None) -> tuple[SessionSpec, Scene]:
    """The task of a run that goes on from a place: its seed, options and scene are those of the place's run.

    Where it was to stop and has stopped it goes on. Raises CallRefused(FIELD_INVALID) when it would end right there.
    """
    spec, scene = SessionSpec(), Scene()
    spec.CopyFrom(log.wish.spec)
    spec.seed = place.past.spec.seed
    del spec.options[:]
    spec.options.extend(place.past.spec.options)
    if spec.HasField("stop_time_s") and spec.stop_time_s <= place.sim_time_s:
        spec.ClearField("stop_time_s")
    scene.CopyFrom(place.past.scene)
    scene.ClearField("end_time_s")
    if log.wish.scene.HasField("end_time_s"):
        scene.end_time_s = log.wish.scene.end_time_s
    if end_time_s is not None:
        spec.end_time_s = scene.end_time_s = end_time_s
    require_end_after(scene, place)
    return spec, scene


def require_end_after(scene: Scene, place: Place) -> None:
    """Raise CallRefused(FIELD_INVALID) when a run that goes on from the place would be at its end already."""
    if scene.HasField("end_time_s") and scene.end_time_s <= place.sim_time_s:
        raise field_invalid("end_time_s", f"must be after {place.sim_time_s} s, where the session goes on")


def open_run(log: LogSoFar, because: RunCause.ValueType, place: Place, end_time_s: float | None = None) -> RunOpened:
    """The next run, from a place on. Raises as `continued`."""
    spec, scene = continued(log, place, end_time_s)
    return RunOpened(
        run=log.life.run + 1,
        because=because,
        base_run=place.past.run,
        step=place.step,
        sim_time_s=place.sim_time_s,
        journal_length=place.journal_length,
        spec=spec,
        scene=scene,
        checkpoint_id=place.checkpoint_id,
    )


def _duration_s(plan: Sequence[PlannedPhase]) -> float:
    return sum(phase.duration_s for phase in plan)
