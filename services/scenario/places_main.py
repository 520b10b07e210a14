"""`python -m scenario.places_main CPU_S MEMORY_BYTES FILE NAME TARGETS`: places of bindings, as JSON on stdout.

    {"found": [[[start, end, current, needs_inspection], ...] | {"part": ..., "message": ...}, ...],
     "rejected": [{...}]}

TARGETS is a file. Started by `limited.find_places_limited`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scenario.limit_process import limit_this_process
from scenario.model import ScenarioRejected
from scenario.places import Found, NoPlace, Target, find_places


def main() -> None:
    """Limits itself, then looks."""
    path, name, asked = limit_this_process()
    targets = [Target(**target) for target in json.loads(Path(asked).read_bytes())]
    try:
        report = {"found": [_form(found) for found in find_places(Path(path), name, targets)], "rejected": []}
    except ScenarioRejected as rejected:
        report = {"found": [], "rejected": [asdict(finding) for finding in rejected.findings]}
    json.dump(report, sys.stdout)


def _form(found: Found) -> Any:
    if isinstance(found, NoPlace):
        return asdict(found)
    return [[place.start, place.end, place.current, place.needs_inspection] for place in found]


if __name__ == "__main__":
    main()
