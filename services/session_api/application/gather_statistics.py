"""Statistics: what sessions, their attempts and the workers come to, added up from the projection."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from milepost.dispatch.v1.dispatch_pb2 import WorkerPresence
from milepost.event.v1.event_pb2 import ClaimReason
from milepost.session.v1.session_pb2 import Attempt, FailureReason, Session, SessionState
from milepost.session.v1.statistics_pb2 import (
    ClaimCount,
    Distribution,
    FailureCount,
    GetStatisticsRequest,
    GetStatisticsResponse,
    StateCount,
    VerdictCount,
    WorkerStatistics,
)
from session_api.application.projection_lag import ProjectionLag
from session_api.application.refusals import field_invalid
from session_api.gateways.fleet import Fleet
from session_api.gateways.resource_parts import CLAIMED_BECAUSE
from session_api.gateways.sessions_sql import Sessions
from session_log.domain.lifecycle import ENDED, State

# Sessions that are read at a time; others are served in between.
_PAGE_SESSIONS = 200
_NEW = CLAIMED_BECAUSE[ClaimReason.CLAIM_REASON_NEW]
_BROKEN = {
    CLAIMED_BECAUSE[ClaimReason.CLAIM_REASON_WORKER_LOST],
    CLAIMED_BECAUSE[ClaimReason.CLAIM_REASON_CHILD_DIED],
}
_LOSSES = {*_BROKEN, CLAIMED_BECAUSE[ClaimReason.CLAIM_REASON_HANDED_OVER]}


@dataclass(frozen=True, slots=True)
class GatherStatistics:
    """Serves GetStatistics."""

    sessions: Sessions
    fleet: Fleet
    lag: ProjectionLag

    async def __call__(self, tenant: str, request: GetStatisticsRequest, *, whole_fleet: bool) -> GetStatisticsResponse:
        """Looks at every session there is, newest first, as far back as is asked for.

        Without `whole_fleet` only of workers that ran one of them. Raises CallRefused(FIELD_INVALID).
        """
        since = _moment(request.since) if request.HasField("since") else datetime.min.replace(tzinfo=UTC)
        tally = Tally()
        after: tuple[datetime, str] | None = None
        while page := await self.sessions.page(tenant, size=_PAGE_SESSIONS, after=after):
            recent = [session for session in page if session.create_time.ToDatetime(UTC) >= since]
            for session in recent:
                if all(session.labels.get(key) == value for key, value in request.labels.items()):
                    tally.take(session)
            if len(recent) < len(page):
                break
            last = page[-1]
            after = (last.create_time.ToDatetime(UTC).replace(tzinfo=None), last.session_id)
        present = self.fleet.present()
        shown = present if whole_fleet else [one for one in present if one.worker_id in tally.workers]
        response = tally.response(shown)
        response.behind_store.FromTimedelta(timedelta(seconds=self.lag.behind_s()))
        return response


def _moment(since: Timestamp) -> datetime:
    try:
        return since.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise field_invalid("since", "is no time between the years 1 and 9999") from error


@dataclass(slots=True)
class Tally:
    """Statistics as they grow; pure."""

    sessions: int = 0
    intervals_again: int = 0
    states: Counter["SessionState.ValueType"] = field(default_factory=Counter)
    failures: Counter["FailureReason.ValueType"] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    workers: dict[str, WorkerStatistics] = field(default_factory=dict)
    values: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, session: Session) -> None:
        """One more session, FULL view."""
        self.sessions += 1
        self.states[session.state] += 1
        ended = State(session.state) in ENDED
        if session.HasField("failure"):
            self.failures[session.failure.reason] += 1
        if session.attempts and not ended and session.state != SessionState.SESSION_STATE_SUSPENDED:
            self._worker(session.worker_id).sessions += 1
        self._take_factor(session, ended=ended)
        before: Attempt | None = None
        for attempt in session.attempts:
            self._take_attempt(session, attempt, before)
            before = attempt

    def _take_factor(self, session: Session, *, ended: bool) -> None:
        factor = session.progress.real_time_factor
        if factor <= 0:
            return
        if session.state == SessionState.SESSION_STATE_RUNNING and not session.pace.paused:
            self.values["running_factor"].append(factor)
        if ended and not session.pace.factor:
            self.values["ended_factor"].append(factor)

    def _take_attempt(self, session: Session, attempt: Attempt, before: Attempt | None) -> None:
        worker = self._worker(attempt.worker_id)
        worker.attempts += 1
        self.claims[attempt.because] += 1
        if attempt.verdict:
            self.verdicts[attempt.verdict] += 1
            self.intervals_again += attempt.intervals_again
        if attempt.because == _NEW:
            self.values["queue_s"].append(_between_s(session.create_time, attempt.claim_time))
        if attempt.because in _BROKEN and before is not None:
            self._worker(before.worker_id).lost += 1
        if attempt.because in _LOSSES:
            worker.recoveries += 1
        if not attempt.HasField("ready_time"):
            return
        if attempt.because in _LOSSES:
            self.values["recovery_s"].append(_between_s(attempt.claim_time, attempt.ready_time))
            self.values["outage_s"].append(_between_s(attempt.previous_time, attempt.ready_time))
        elif before is None or before.run != attempt.run:
            self.values["preparation_s"].append(_between_s(attempt.claim_time, attempt.ready_time))

    def _worker(self, worker_id: str) -> WorkerStatistics:
        return self.workers.setdefault(worker_id, WorkerStatistics(worker_id=worker_id))

    def response(self, present: Collection[WorkerPresence]) -> GetStatisticsResponse:
        """All of it, with the workers that are there."""
        for presence in present:
            worker = self._worker(presence.worker_id)
            worker.present = True
            worker.pool, worker.slots, worker.busy = presence.pool, presence.slots, presence.busy
            worker.cpu_load, worker.closed_because = presence.cpu_load, presence.closed_because
            worker.memory_free_bytes = presence.memory_free_bytes
        return GetStatisticsResponse(
            sessions=self.sessions,
            states=[StateCount(state=state, sessions=self.states[state]) for state in sorted(self.states)],
            failures=[FailureCount(reason=reason, sessions=count) for reason, count in self.failures.most_common()],
            claims=[ClaimCount(because=because, attempts=count) for because, count in self.claims.most_common()],
            verdicts=[VerdictCount(verdict=one, attempts=self.verdicts[one]) for one in sorted(self.verdicts)],
            intervals_again=self.intervals_again,
            queue_s=distribution(self.values["queue_s"]),
            preparation_s=distribution(self.values["preparation_s"]),
            recovery_s=distribution(self.values["recovery_s"]),
            outage_s=distribution(self.values["outage_s"]),
            running_factor=distribution(self.values["running_factor"]),
            ended_factor=distribution(self.values["ended_factor"]),
            workers=[self.workers[name] for name in sorted(self.workers)],
        )


def distribution(values: Collection[float]) -> Distribution:
    """Some values, summed up; shares are of the values themselves (nearest rank)."""
    if not values:
        return Distribution()
    ordered = sorted(values)

    def at_most(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Distribution(
        count=len(ordered),
        min=ordered[0],
        mean=math.fsum(ordered) / len(ordered),
        p50=at_most(0.5),
        p90=at_most(0.9),
        max=ordered[-1],
    )


def _between_s(begin: Timestamp, end: Timestamp) -> float:
    """Seconds from one time to another; clocks of two machines may differ, and nothing took less than none."""
    return max(0.0, (end.ToMicroseconds() - begin.ToMicroseconds()) / 1e6)
