"""Settings of a sim worker, from `MILEPOST_<NAME>`."""

import os
import socket
from pathlib import Path

from pydantic import Field

from runtime.settings import ServiceSettings
from sim_worker.gateways.allocator import DEFAULT

# What one session of a small city needs, MiB; for the default number of slots.
_SLOT_MIB = 512


def _default_slots() -> int:
    """Two sessions per core, as far as memory goes."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    return max(1, min(2 * (os.cpu_count() or 1), memory_mib // _SLOT_MIB))


class SimWorkerSettings(ServiceSettings):
    """See ServiceSettings."""

    listen: str = "127.0.0.1:7402"
    metrics_listen: str = "127.0.0.1:9402"
    event_store: str = "127.0.0.1:7401"
    """Address of the event store."""
    work_dir: Path = Path("milepost-worker")
    """Where sessions' directories are; what an earlier life left there is removed at start."""
    worker_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}".replace(".", "-"))
    """Name in logs and presence; no dots."""
    pool: str = "sumo-1_28_0"
    """Pool whose orders are pulled."""
    slots: int = Field(default_factory=_default_slots, ge=1)
    """Sessions run at once."""
    lease_s: float = 10.0
    """How long this worker may be silent before its sessions are given to others, seconds."""
    memory_limit_mib: int = 4096
    """Memory of a session that names no limit, MiB."""
    file_size_limit_mib: int = 1024
    """Largest file a session may write, MiB."""
    artifact_limit_mib: int = 64
    """Largest part of a file that is kept as an artifact, MiB."""
    init_timeout_s: float = 120.0
    """How long SUMO may take to load a scenario, seconds."""
    stall_timeout_s: float = 300.0
    """How long a single step may take, seconds."""
    min_memory_mib: int = 512
    """With less left on the machine the largest session is suspended, MiB."""
    min_disk_mib: int = 512
    """With less left on the disk of `work_dir` the largest session is suspended, MiB."""
    lingering_copies: int = Field(default=8, ge=0)
    """Sleeping copies of ended sessions that are kept for forks from their ends (SessionSpec.linger_s)."""
    pod_name: str = ""
    """Pod this worker runs in; where it is said, the pod's deletion cost follows the number of sessions."""
    idle_exit_s: float = Field(default=0.0, ge=0)
    """After how long without a session this worker ends by itself, as a job does, seconds; 0: never."""
    allocator: str = DEFAULT
    """Library that replaces malloc in simulations, by name or path; `libc`, and where it is not installed: none."""
    niceness: int = 5
    """Niceness of simulations: services stay answerable."""
