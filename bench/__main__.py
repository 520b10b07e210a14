"""`python -m bench [figure ...]`: all figures, or those that are named."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from bench import (
    cluster,
    creates,
    first_interval,
    fleet,
    ingest_and_fanout,
    latency,
    many_sessions,
    overhead,
    projection,
    recovery,
    store,
    studies,
    studies_thousand,
    study_rivals,
    warm_up,
    watchers,
)

FIGURES: dict[str, Callable[[], Awaitable[None]]] = {
    "overhead": overhead.measure,
    "many-sessions": many_sessions.measure,
    "latency": latency.measure,
    "first-interval": first_interval.measure,
    "creates": creates.measure,
    "ingest-and-fanout": ingest_and_fanout.measure,
    "recovery": recovery.measure,
    "store": store.measure,
    "projection": projection.measure,
    "watchers": watchers.measure,
    "cluster": cluster.measure,
    "fleet": fleet.measure,
    "studies-aa": studies.measure,
    "studies-rivals": study_rivals.measure,
    "studies-thousand": studies_thousand.measure,
    "warm-up": warm_up.measure,
}


async def main(names: list[str]) -> int:
    """Measure one figure after the other."""
    unknown = set(names) - set(FIGURES)
    if unknown:
        print(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    print(f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB")
    for name in names or FIGURES:
        print(f"\n{name}")
        await FIGURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
