"""`python -m scenario.inspect_main CPU_S MEMORY_BYTES ROOT CONFIG`: one inspection, limited, as JSON on stdout.

    {"scene": {...} | null, "errors": [{...}], "warnings": [{...}]}

Started by `limited.inspect_limited`, which reads whatever happens here as a finding.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from scenario.inspect import inspect
from scenario.limit_process import limit_this_process


def main() -> None:
    """Limits itself, then inspects."""
    root, config_path = limit_this_process()
    json.dump(asdict(inspect(Path(root), config_path)), sys.stdout)


if __name__ == "__main__":
    main()
