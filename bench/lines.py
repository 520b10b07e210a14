"""How figures with a goal are printed."""

import statistics
from collections.abc import Sequence


def told(name: str, figure: str, goal: str = "") -> None:
    """One figure, and its goal in words."""
    print(f"  {name:58} {figure:42}" + (f" goal: {goal}" if goal else ""), flush=True)


def in_ms(seconds: Sequence[float]) -> str:
    """Median and worst or, of many, 99th percentile."""
    middle = f"p50 {statistics.median(seconds) * 1e3:.1f}"
    many = len(seconds) >= 50
    far = f"p99 {statistics.quantiles(seconds, n=100)[98] * 1e3:.1f}" if many else f"worst {max(seconds) * 1e3:.1f}"
    return f"{middle} ms, {far} ms ({len(seconds)} samples)"


def in_s(seconds: Sequence[float]) -> str:
    """Median and worst."""
    return f"p50 {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s ({len(seconds)} samples)"
