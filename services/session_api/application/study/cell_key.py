"""What makes two variants the same: equal versions and seeds, equal results, byte for byte (docs/determinism.md)."""

import hashlib
from typing import Final

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import SessionSpec

# Written over with every change of what a stored result holds.
_FORMAT = b"milepost-result 1\n"
# Where, when and for how long it runs; what is kept of it.
_NO_INPUT: Final = (
    "seed",
    "scheduling",
    "limits",
    "memory_limit_mib",
    "pace",
    "start_paused",
    "linger_s",
    "edge_data",
    "messages",
    "tolerate_divergence",
    "milestones",
)


def version_of(spec: SessionSpec, scene: Scene, pool: str) -> str:
    """SHA-256 over all that results follow from, but the seed; the pool stands for the build."""
    inputs = SessionSpec()
    inputs.CopyFrom(spec)
    for field in _NO_INPUT:
        inputs.ClearField(field)
    every_s = inputs.checkpoints.every_sim_s
    inputs.ClearField("checkpoints")
    if inputs.recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE:
        # The running simulation goes on from its checkpoints: they are part of its path.
        inputs.checkpoints.every_sim_s = every_s
    parts = (inputs.SerializeToString(deterministic=True), scene.SerializeToString(deterministic=True), pool.encode())
    digest = hashlib.sha256(_FORMAT)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
