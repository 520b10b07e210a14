"""What is said once SUMO has loaded the scene."""

import os
from pathlib import Path
from typing import Final

from milepost.child.v1.child_pb2 import Plan, Started
from sim_worker.child.engine import Clock

# Environment that takes part in the result (sumo.md, "libm").
_RESULT_ENVIRONMENT: Final = ("GLIBC_TUNABLES",)


def started(plan: Plan, clock: Clock, *, begin_time_s: float) -> Started:
    """What runs, where, and from when on."""
    return Started(
        begin_time_s=begin_time_s,
        step_length_s=clock.step_length_s,
        sumo_version=clock.sumo_version,
        arguments=plan.arguments,
        environment=[f"{name}={os.environ[name]}" for name in _RESULT_ENVIRONMENT if name in os.environ],
        processor=_processor(),
    )


def _processor() -> str:
    """Model of the processor; empty where the kernel does not say."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""
