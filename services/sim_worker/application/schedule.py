"""How often a run is copied, or goes on from a state file, by its own clock."""

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.session.v1.session_pb2 import Engine
from session_log.past import Past


def copy_every_steps(past: Past) -> int:
    """How often the child copies itself by its own clock; 0 where state files or another engine are wanted."""
    files = past.spec.checkpoints.state_files or past.spec.recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE
    return 0 if files or past.spec.engine == Engine.ENGINE_TRACI else _every_steps(past)


def rebase_every_steps(past: Past) -> int:
    """How often the simulation goes on from a state file; 0: never."""
    return _every_steps(past) if past.spec.recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE else 0


def _every_steps(past: Past) -> int:
    every_s, step_s = past.spec.checkpoints.every_sim_s, past.scene.step_length_s
    return max(1, round(every_s / step_s)) if every_s and step_s else 0
