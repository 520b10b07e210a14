"""How often a run is copied, or goes on from a state file, by its own clock, and how long checkpoints are kept."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointPolicy, RecoveryPolicy
from milepost.session.v1.session_pb2 import Engine
from session_log.past import Past

# Checkpoints kept when the policy does not say.
KEEP_LAST: Final = 10


def no_longer_kept(loose: Sequence[Checkpoint], policy: CheckpointPolicy, now: datetime) -> list[Checkpoint]:
    """Of those that are not pinned, oldest first, what a policy lets go."""
    too_many = max(0, len(loose) - (policy.keep_last or KEEP_LAST))
    oldest = now - timedelta(seconds=policy.ttl_s) if policy.ttl_s else None
    return [
        made
        for index, made in enumerate(loose)
        if index < too_many or (oldest is not None and made.create_time.ToDatetime(UTC) < oldest)
    ]


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
