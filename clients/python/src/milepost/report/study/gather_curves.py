"""KPIs over simulated time of the variants that matter, a line for each of their runs."""

import asyncio
from collections.abc import Mapping, Sequence

from milepost.client import Milepost
from milepost.event.v1.metrics_pb2 import QueryMetricsResponse
from milepost.exceptions import NotFound
from milepost.report.gather import bucket_length_s
from milepost.report.panels import PANELS
from milepost.report.study.model import Curves
from milepost.session.v1.session_pb2 import Session
from milepost.study.v1.study_pb2 import Cell, CellState, Ranking

# Variants whose curves are told: leader, baseline, and what comes next.
_VARIANTS = 3
# Runs of each: a band over more looks the same.
MAX_RUNS = 30


def drawn_variants(ranking: Ranking) -> list[str]:
    """The variants whose curves are told: the leader, the baseline, then the best of the others; only with runs."""
    with_runs = [one.name for one in ranking.variants if one.runs]
    first = [name for name in (*with_runs[:1], ranking.baseline) if name in with_runs]
    return list(dict.fromkeys(first + with_runs))[:_VARIANTS]


async def curves_of(client: Milepost, ranking: Ranking, cells: Sequence[Cell]) -> tuple[Curves | None, list[Session]]:
    """The curves, and the first session of each variant (FULL); what is gone, or another tenant's, has none.

    Raises MilepostError.
    """
    names = drawn_variants(ranking)
    wanted = [
        (name, cell.session_id)
        for name in names
        for cell in [one for one in cells if one.variant == name and _has_session(one)][:MAX_RUNS]
    ]
    found = dict(await asyncio.gather(*(_session(client, session_id) for _, session_id in wanted)))
    sessions = {session_id: session for session_id, session in found.items() if session is not None}
    if not sessions:
        return None, []
    bucket_s = bucket_length_s(list(sessions.values()))
    metrics = await client.events.metrics(
        [panel.metric for panel in PANELS], session_ids=list(sessions), bucket_s=bucket_s
    )
    runs = {name: [session_id for of, session_id in wanted if of == name and session_id in sessions] for name in names}
    first = [await client.sessions.get(session_ids[0], full=True) for session_ids in runs.values() if session_ids]
    return _curves(metrics, bucket_s, runs), first


def _curves(metrics: QueryMetricsResponse, bucket_s: float, runs: Mapping[str, Sequence[str]]) -> Curves:
    series = {(one.session_id, one.metric): one.values for one in metrics.series}
    return Curves(
        bucket_s,
        [bucket.end_time_s for bucket in metrics.buckets],
        {
            (name, panel.metric): [
                list(series[session_id, panel.metric])
                for session_id in session_ids
                if (session_id, panel.metric) in series
            ]
            for name, session_ids in runs.items()
            for panel in PANELS
        },
    )


def _has_session(cell: Cell) -> bool:
    return cell.state == CellState.CELL_STATE_DONE and bool(cell.session_id)


async def _session(client: Milepost, session_id: str) -> tuple[str, Session | None]:
    try:
        return session_id, await client.sessions.get(session_id)
    except NotFound:
        return session_id, None
