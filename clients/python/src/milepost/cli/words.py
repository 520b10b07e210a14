"""Events, commands and interventions in words, one line each."""

from collections.abc import Sequence

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointCause
from milepost.event.v1.event_pb2 import (
    ClaimReason,
    CommandRequested,
    Event,
    RecoveryJudged,
    RunCause,
    RunOpened,
    StartKind,
    Verdict,
)
from milepost.intervention.v1.intervention_pb2 import Intervention, Place, SetSignal
from milepost.session.v1.session_pb2 import CompletionReason, FailureReason

# Ids listed before "and n more".
_MAX_IDS = 5


def gist(event: Event) -> str:  # noqa: PLR0912 - a sentence per kind of event
    """What an event says beyond its kind; empty when the kind says everything."""
    match event.WhichOneof("payload"):
        case "session_created":
            return _created(event)
        case "attempt_claimed":
            claimed = event.attempt_claimed
            because = enum_word(ClaimReason.Name(claimed.because), "CLAIM_REASON_")
            return f"attempt {claimed.attempt} by {claimed.worker_id}, {because}"
        case "run_started":
            return f"SUMO {event.run_started.execution.sumo_version} from {event.run_started.begin_time_s:g} s"
        case "interval_closed":
            kpis = event.interval_closed.kpis
            return f"{kpis.running} running, {kpis.arrived} arrived, {kpis.mean_speed_mps:.1f} m/s"
        case "session_completed":
            results = event.session_completed.results
            return enum_word(CompletionReason.Name(results.reason), "COMPLETION_REASON_")
        case "session_failed":
            failure = event.session_failed.failure
            return f"{FailureReason.Name(failure.reason).removeprefix('FAILURE_REASON_')}: {failure.message}"
        case "command_requested":
            return command_words(event.command_requested)
        case "command_rejected":
            rejected = event.command_rejected
            return f"{rejected.message} ({rejected.field})" if rejected.field else rejected.message
        case "artifact_stored":
            return f"{event.artifact_stored.artifact.name}, {event.artifact_stored.artifact.size_bytes} bytes"
        case "log_line":
            return event.log_line.text
        case "recovery_judged":
            return verdict_words(event.recovery_judged)
        case "run_opened":
            return _run_words(event.run_opened)
        case "start_rejected":
            start = event.start_rejected
            kind = enum_word(StartKind.Name(start.start), "START_KIND_")
            return f"{kind} at step {start.step}: {start.reason}, {start.message}"
        case "exactness_broken":
            return f"differs from step {event.exactness_broken.step}: {event.exactness_broken.difference}"
        case "session_forked":
            forked = event.session_forked
            return f"as {forked.session_id} at {forked.sim_time_s:g} s"
        case "session_deleted":
            return f"for good at {event.session_deleted.purge_time.ToDatetime():%Y-%m-%d %H:%M}"
        case "milestone_reached":
            return f"rule {event.milestone_reached.rule} at {event.milestone_reached.value:g}"
        case "phase_started":
            return f"phase {event.phase_started.phase}"
        case "phase_ended":
            kpis = event.phase_ended.kpis
            return f"phase {event.phase_ended.phase}: {kpis.trips} trips, {kpis.mean_travel_time_s:.1f} s each"
        case "checkpoint_committed":
            return _checkpoint_words(event.checkpoint_committed.checkpoint)
        case "checkpoint_started":
            return event.checkpoint_started.checkpoint_id
        case "checkpoint_failed":
            return f"{event.checkpoint_failed.checkpoint_id}: {event.checkpoint_failed.message}"
        case "checkpoint_pinned":
            pinned = event.checkpoint_pinned
            return f"{pinned.checkpoint_id} {'is kept' if pinned.pinned else 'is no longer kept'}"
        case "checkpoint_deleted":
            return event.checkpoint_deleted.checkpoint_id
        case "resource_used":
            usage = event.resource_used.usage
            return f"{usage.cpu_s:.1f} s of processor, {usage.memory_bytes / 1e6:.0f} MB, {usage.snapshots} snapshots"
        case _:
            return ""


def command_words(command: CommandRequested) -> str:
    """What was asked for, by whom as far as that is known, and why."""
    asked = _verb_words(command)
    who = command.asked_by or command.subject
    by = f", by {who}" if who else ""
    return f"{asked}{by}: {command.comment}" if command.comment else f"{asked}{by}"


def _verb_words(command: CommandRequested) -> str:  # noqa: PLR0912 - a phrase per verb
    verb = command.WhichOneof("verb") or ""
    match verb:
        case "resume" if command.resume.checkpoint_id:
            return f"resume from checkpoint {command.resume.checkpoint_id}"
        case "rollback":
            back = command.rollback
            by_id = back.WhichOneof("to") == "checkpoint_id"
            return f"rollback to {f'checkpoint {back.checkpoint_id}' if by_id else f'{back.sim_time_s:g} s'}"
        case "checkpoint":
            name = command.checkpoint.name
            return f"checkpoint {name!r}" if name else "checkpoint"
        case "intervene":
            return f"intervene: {change_words(command.intervene)}"
        case "set_pace" if command.set_pace.paused:
            return "pause"
        case "set_pace":
            return f"pace {pace_word(command.set_pace.factor)}"
        case "step":
            return f"step {command.step.steps}"
        case "run_until":
            return f"run until {command.run_until.sim_time_s:g} s"
        case "fork":
            return f"fork {command.fork.session_id} at step {command.fork.step}"
        case "update":
            return f"update {', '.join(command.update.update_mask)}"
        case "pin":
            return f"{'pin' if command.pin.pinned else 'unpin'} checkpoint {command.pin.checkpoint_id}"
        case "delete_checkpoint":
            return f"delete checkpoint {command.delete_checkpoint.checkpoint_id}"
        case _:
            return verb.replace("_", " ")


def pace_word(factor: float) -> str:
    """A pace: `max`, or times real time."""
    return f"{factor:g} x real time" if factor else "max"


def verdict_words(judged: RecoveryJudged) -> str:
    """What the log says of an attempt that simulated the past again."""
    verdict = Verdict.Name(judged.verdict).removeprefix("VERDICT_")
    start = enum_word(StartKind.Name(judged.start), "START_KIND_") if judged.start else "origin"
    words = f"{verdict}, {judged.intervals} intervals again from {start} at step {judged.start_step}"
    return f"{words}; step {judged.diverged_step}: {judged.difference}" if judged.diverged_step else words


def change_words(intervention: Intervention) -> str:  # noqa: PLR0912 - a sentence per kind of change
    """What an intervention changes."""
    match intervention.WhichOneof("change"):
        case "close":
            return f"close {_place(intervention.close.place)}{_classes(intervention.close.vehicle_classes)}"
        case "open":
            return f"open {_place(intervention.open.place)}{_classes(intervention.open.vehicle_classes)}"
        case "set_speed_limit":
            limit = intervention.set_speed_limit
            return f"limit {_place(limit.place)} to {limit.speed_mps:g} m/s"
        case "set_signal":
            return _signal_words(intervention.set_signal)
        case "add_signal_program":
            program = intervention.add_signal_program
            return f"give signal {program.signal_id} program {program.program_id}"
        case "add_vehicle":
            return f"add vehicle {intervention.add_vehicle.vehicle_id}"
        case "add_person":
            return f"add person {intervention.add_person.person_id}"
        case "remove_vehicles":
            return f"remove {_ids(intervention.remove_vehicles.vehicle_ids)}"
        case "reroute":
            reroute = intervention.reroute
            to = f" to {reroute.target_edge_id}" if reroute.target_edge_id else ""
            return f"reroute {_ids(reroute.vehicle_ids) or 'all vehicles'}{to}"
        case "stop_vehicle":
            return f"stop {intervention.stop_vehicle.vehicle_id} for {intervention.stop_vehicle.duration_s:g} s"
        case "release_vehicle":
            return f"release {intervention.release_vehicle.vehicle_id}"
        case "scale_demand":
            return f"scale demand by {intervention.scale_demand.factor:g}"
        case "set_vehicle":
            return f"set parameters of {intervention.set_vehicle.vehicle_id}"
        case _:
            return ""


def _signal_words(change: SetSignal) -> str:
    match change.WhichOneof("to"):
        case "program_id":
            return f"set signal {change.signal_id} to program {change.program_id}"
        case "phase":
            return f"set signal {change.signal_id} to phase {change.phase}"
        case _:
            return f"set signal {change.signal_id} to {change.state}"


def _created(event: Event) -> str:
    created = event.session_created
    if not created.HasField("forked_from"):
        return created.display_name
    return f"forked from {created.forked_from.session_id} at {created.forked_from.sim_time_s:g} s"


def _run_words(opened: RunOpened) -> str:
    cause = enum_word(RunCause.Name(opened.because), "RUN_CAUSE_")
    past = f"from {opened.sim_time_s:g} s of run {opened.base_run}" if opened.base_run else "from the origin"
    return f"run {opened.run}, {cause} {past}"


def _checkpoint_words(checkpoint: Checkpoint) -> str:
    name = f" {checkpoint.name!r}" if checkpoint.name else ""
    cause = enum_word(CheckpointCause.Name(checkpoint.cause), "CHECKPOINT_CAUSE_")
    file = f", state file of {checkpoint.state_file.size_bytes} bytes" if checkpoint.HasField("state_file") else ""
    return f"{checkpoint.checkpoint_id}{name}, {cause}{file}"


def _place(place: Place) -> str:
    parts = [("edge", place.edge_ids), ("lane", place.lane_ids)]
    return " and ".join(f"{word}{'s' if len(ids) > 1 else ''} {_ids(ids)}" for word, ids in parts if ids)


def _classes(classes: Sequence[str]) -> str:
    return f" for {', '.join(classes)}" if classes else ""


def _ids(ids: Sequence[str]) -> str:
    more = len(ids) - _MAX_IDS
    return ", ".join([*ids[:_MAX_IDS], *([f"and {more} more"] if more > 0 else [])])


def enum_word(name: str, prefix: str) -> str:
    """The word of an enum's value."""
    return name.removeprefix(prefix).lower().replace("_", " ")
