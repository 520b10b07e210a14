"""The report: languages × cases, and below it every cell that is not `pass`."""

from collections.abc import Mapping

from conformance.play import FAIL, PASS, Cell

Rows = Mapping[str, Mapping[str, Cell]]


def text(rows: Rows, names: Mapping[str, str], missing: Mapping[str, str]) -> str:
    """The table; `names` are the languages' by folder, `missing` those that were left out and why."""
    first = max(len(name) for name in [*rows, "case"])
    widths = {folder: max(len(name), 4) for folder, name in names.items()}
    lines = ["  ".join(["case".ljust(first), *(names[it].ljust(widths[it]) for it in names)]).rstrip()]
    lines.append("  ".join(["-" * first, *("-" * widths[it] for it in names)]))
    for case, cells in rows.items():
        marks = [(cells[it].verdict if it in cells else "").ljust(widths[it]) for it in names]
        lines.append("  ".join([case.ljust(first), *marks]).rstrip())
    told = [
        f"{cell.verdict}: {case}, {names[it]}: {cell.why}"
        for case, cells in rows.items()
        for it, cell in cells.items()
        if cell.verdict != PASS
    ]
    left_out = [f"left out: {name}: {why}" for name, why in missing.items()]
    return "\n".join([*lines, "", *told, *left_out, _sum(rows)])


def failed(rows: Rows) -> int:
    """How many cells fail."""
    return sum(cell.verdict == FAIL for cells in rows.values() for cell in cells.values())


def _sum(rows: Rows) -> str:
    cells = [cell for row in rows.values() for cell in row.values()]
    passed = sum(cell.verdict == PASS for cell in cells)
    return f"{passed} passed, {failed(rows)} failed, {len(cells) - passed - failed(rows)} skipped"
