"""`python -m scenario.inspect_main ROOT CONFIG CPU_S MEMORY_BYTES`: one inspection, limited, as JSON on stdout.

    {"scene": {...} | null, "errors": [{...}], "warnings": [{...}]}

Started by `limited.inspect_limited`, which reads whatever happens here as a finding.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from scenario.inspect import inspect

# The pipe to the parent is no file; nothing else is written.
_FILE_SIZE_BYTES: Final = 0


def main() -> None:
    """Limits itself, then inspects."""
    root, config_path, cpu_s, memory_bytes = sys.argv[1:]
    # SIGXCPU at the soft limit; SIGKILL a second later, should that be caught by anything.
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE_BYTES, _FILE_SIZE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    json.dump(asdict(inspect(Path(root), config_path)), sys.stdout)


if __name__ == "__main__":
    main()
