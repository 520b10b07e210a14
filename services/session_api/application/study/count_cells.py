"""Count what comes of studies, for those who watch the whole: once, by whoever appended it."""

from collections.abc import Iterable

from google.protobuf.message import Message
from prometheus_client import Counter

from milepost.study.v1.study_event_pb2 import CellsFinished, VariantDropped
from milepost.study.v1.study_pb2 import Cell, CellState

_cells = Counter(
    "milepost_study_cells_total", "Cells of studies that are over, by outcome: done, failed, cached", ["outcome"]
)
_dropped = Counter("milepost_study_variants_dropped_total", "Variants that races gave no more seeds")


def count_cells(appended: Iterable[Message]) -> None:
    """Count the events of a study that stand in its log now."""
    for event in appended:
        match event:
            case CellsFinished():
                for cell in event.cells:
                    _cells.labels(_outcome(cell)).inc()
            case VariantDropped():
                _dropped.inc()


def _outcome(cell: Cell) -> str:
    if cell.state == CellState.CELL_STATE_FAILED:
        return "failed"
    return "cached" if cell.cached else "done"
