"""A study as answers show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from milepost.study.v1.study_pb2 import Study, StudyProgress
from session_api.application.study.cells import session_of
from session_api.application.study.study_state import StudySoFar
from session_api.gateways.study_sessions import StudySessions


@dataclass(frozen=True, slots=True)
class ShowStudy:
    """Puts the log and what its sessions are doing together."""

    sessions: StudySessions

    async def __call__(self, tenant: str, study: StudySoFar, *, full: bool = False) -> Study:
        """The study; BASIC unless `full`."""
        cells = [] if study.end_time else [session_of(study, key) for key in study.open_cells]
        running = await self.sessions.count_running(tenant, cells) if cells else 0
        shown = study_resource(study, running=running)
        if full:
            shown.spec.CopyFrom(study.plan.spec)
            shown.variants.extend(study.plan.variants)
        return shown


def study_resource(study: StudySoFar, *, running: int = 0, conditions: Sequence[str] = ()) -> Study:
    """The BASIC view."""
    shown = Study(
        study_id=study.study_id,
        display_name=study.created.display_name,
        labels=study.created.labels,
        state=study.state,
        seq=study.place.seq,
        progress=_progress(study, running),
        owner=study.created.subject,
        map_runs=study.map_runs,
        conditions=conditions,
    )
    shown.create_time.FromDatetime(study.create_time)
    if study.end_time is not None:
        shown.end_time.FromDatetime(study.end_time)
    if study.completed is not None:
        shown.end, shown.answer = study.completed.end, study.completed.answer
    return shown


def _progress(study: StudySoFar, running: int) -> StudyProgress:
    left = len(study.open_cells)
    progress = StudyProgress(
        cells=len(study.cells) + left,
        done=len(study.cells) - study.failed,
        cached=study.cached,
        failed=study.failed,
        running=min(running, left),
        waiting=max(0, left - running),
        dropped_variants=len(study.dropped),
        rungs=len(study.rungs),
        sessions=study.sessions,
        simulated_s=study.simulated_s,
    )
    simulated = len(study.cells) - study.cached
    if left and simulated and study.last_cell_time is not None:
        progress.eta_s = left * _seconds(study.create_time, study.last_cell_time) / simulated
    return progress


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())
