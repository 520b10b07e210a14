"""What a process is told of the run it simulates."""

from collections.abc import Sequence

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.child.v1.child_pb2 import Plan, Resumption
from session_log.past import Past
from session_log.planned import as_applied, end_of, in_order
from sim_worker.application.write_state import state_file_name

# What SUMO's state files forget of the network (determinism.md).
_FORGOTTEN = ("close", "open", "set_speed_limit", "set_signal", "add_signal_program", "scale_demand")


def plan_of(past: Past, arguments: Sequence[str]) -> Plan:
    """What a run is, for any process that simulates it."""
    spec, scene = past.spec, past.scene
    plan = Plan(
        engine=spec.engine,
        arguments=arguments,
        interval_steps=spec.interval_steps,
        stop_when_empty=spec.stop_when_empty,
        journal=past.journal,
        replay_to_step=past.head_step,
        phases=spec.plan,
        milestones=spec.milestones,
        rebased_steps=[made.step for made in past.rebased],
        planned=spec.interventions,
    )
    if (end_time_s := end_of(spec, scene)) is not None:
        plan.end_time_s = end_time_s
    if spec.HasField("goal"):
        plan.goal.CopyFrom(spec.goal)
    return plan


def begin_from(plan: Plan, past: Past, made: Checkpoint) -> None:
    """Let a plan begin with the state file of a checkpoint, which is in the process's directory."""
    plan.state_file = state_file_name(made)
    planned = in_order(past.spec.interventions)[: made.planned_length]
    plan.restore.extend(
        intervention
        for intervention in as_applied(planned, past.journal[: made.journal_length], past.scene)
        if intervention.WhichOneof("change") in _FORGOTTEN
    )
    plan.resumption.CopyFrom(
        Resumption(
            step=made.step,
            state_digest=made.state_file.interval_digest,
            kpis=made.kpis,
            journal_length=made.journal_length,
            planned_length=made.planned_length,
            milestones_reached=made.state_file.milestones_reached,
            phase_kpis=made.state_file.phase_kpis,
            interval_kpis=made.state_file.interval_kpis,
        )
    )
