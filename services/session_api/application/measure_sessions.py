"""Measure sessions and studies: how many wait, run and have ended, for those who watch the whole."""

import asyncio
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from milepost.study.v1.study_pb2 import StudyState
from session_api.gateways.fleet import Fleet
from session_api.gateways.session_counts import SessionCounts

log = structlog.get_logger()
_sessions = Gauge(
    "milepost_sessions",
    "Sessions that are kept, deleted ones left out, by pool, class and state",
    ["pool", "class", "state"],
)
_oldest = Gauge(
    "milepost_queue_oldest_seconds", "How long the session that waits longest was created ago", ["pool", "class"]
)
_slots = Gauge("milepost_pool_slots", "Slots of the workers that are heard of, closed ones left out", ["pool"])
_workers = Gauge("milepost_pool_workers", "Workers that are heard of", ["pool"])
_studies = Gauge("milepost_studies", "Studies that are kept, by state", ["state"])
_results = Gauge("milepost_stored_results", "Results of runs that studies may take")

# How often all of it is counted, seconds.
PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class MeasureSessions:
    """Counts for ever. Every replica counts the same."""

    counts: SessionCounts
    fleet: Fleet

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self._once()
            except SQLAlchemyError as error:
                log.warning("sessions are counted later", error=repr(error))
            await asyncio.sleep(PERIOD_S)

    async def _once(self) -> None:
        counted, oldest = await self.counts.by_state(), await self.counts.oldest_waiting_s()
        studies, results = await self.counts.studies_by_state(), await self.counts.results()
        for gauge in (_sessions, _oldest, _slots, _workers, _studies):
            # What is gone must not stay at what it was.
            gauge.clear()
        for pool, work_class, state, count in counted:
            _sessions.labels(pool, work_class, state.name.lower()).set(count)
        for pool, work_class, age_s in oldest:
            _oldest.labels(pool, work_class).set(age_s)
        for standing, count in studies:
            _studies.labels(StudyState.Name(standing).removeprefix("STUDY_STATE_").lower()).set(count)
        _results.set(results)
        for worker in self.fleet.present():
            _workers.labels(worker.pool).inc()
            _slots.labels(worker.pool).inc(0 if worker.closed_because else worker.slots)
