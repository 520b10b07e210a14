"""SUMO's edge data beside a scenario: one additional file of the session's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scenario.outputs import OUTPUT_FOLDER

FILE_NAME: Final = "edges.xml"
"""Below `outputs/`; an output of the scenario that is called so gets another name."""

_ADDITIONAL: Final = "milepost-edge-data{}.add.xml"
# Without it SUMO stops at its option `--end`, beyond which a fork goes on. Far behind any end a session may have.
_NEVER_S: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class EdgeData:
    """What is asked for: the length of its intervals (0: one for all), and from when on, simulated s."""

    interval_s: float = 0.0
    begin_time_s: float | None = None


def add_edge_data(root: Path, wanted: EdgeData) -> str:
    """Write the file that asks SUMO for it beside the scenario's own, under a name that is free; the name."""
    name = next(
        candidate
        for number in range(1_000_000)
        if not (root / (candidate := _ADDITIONAL.format(f"-{number}" if number else ""))).exists()
    )
    period = f' period="{wanted.interval_s:.15g}"' if wanted.interval_s else ""
    begin = f' begin="{wanted.begin_time_s:.15g}"' if wanted.begin_time_s is not None else ""
    element = (
        f'<edgeData id="milepost" file="../{OUTPUT_FOLDER}/{FILE_NAME}"{period}{begin} '
        f'end="{_NEVER_S}" excludeEmpty="true"/>'
    )
    (root / name).write_text(f"<additional>\n    {element}\n</additional>\n")
    return name
