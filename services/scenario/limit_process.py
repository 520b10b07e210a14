"""What a limited process does first: `python -m MODULE CPU_S MEMORY_BYTES ARGUMENT…` limits itself."""

from __future__ import annotations

import resource
import sys
from typing import Final

# The pipe to the parent is no file; nothing else is written.
_FILE_SIZE_BYTES: Final = 0


def limit_this_process() -> list[str]:
    """Set the limits of the command line; returns the other arguments."""
    cpu_s, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    # SIGXCPU at the soft limit; SIGKILL a second later, should that be caught by anything.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE_BYTES, _FILE_SIZE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return sys.argv[3:]
