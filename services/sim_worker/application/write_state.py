"""Write a state file: a copy of the process does it while the simulation goes on, then the store keeps it."""

from dataclasses import dataclass
from typing import Final

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, StateFile
from milepost.child.v1.child_pb2 import SnapshotPlace
from runtime.blobs import Blobs
from sim_worker.application.keep_artifacts import keep_file
from sim_worker.application.session import Session
from sim_worker.gateways.child_process import Child

# Largest state file that is kept, bytes.
MAX_STATE_FILE_BYTES: Final = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class WriteState:
    """Writes the state files of one child."""

    session: Session
    child: Child
    blobs: Blobs
    libm_fingerprint: str

    async def __call__(self, made: Checkpoint, *, known: bool = False) -> SnapshotPlace:
        """The place it is of. The file is left in the session's directory.

        Unless it is `known`, it is stored and `made` says what it is. Raises ChildRefused, ChildGone.
        """
        name = state_file_name(made)
        written = await self.child.write_state(name)
        if known:
            return written.place
        sha256, size = await keep_file(self.blobs, self.session.directory / name, limit_bytes=MAX_STATE_FILE_BYTES)
        assert self.session.started is not None
        made.state_file.CopyFrom(
            StateFile(
                sha256=sha256,
                size_bytes=size,
                sumo_version=self.session.started.sumo_version,
                libm_fingerprint=self.libm_fingerprint,
                interval_digest=written.place.interval_digest,
                interval_kpis=written.place.interval_kpis,
                milestones_reached=written.place.milestones_reached,
                phase_kpis=written.place.phase_kpis,
            )
        )
        return written.place


def state_file_name(made: Checkpoint) -> str:
    """Where a state file lies in its session's directory."""
    return f"state-{made.checkpoint_id}.xml.gz"
