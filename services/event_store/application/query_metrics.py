"""Answer what became of KPIs over simulated time, session after session, in memory for the answer alone."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from event_store.application.metric_fold import KPI_CLASSES, Key, Metric, RunFold, Spread, metric
from event_store.application.read_run import Window, pages, record_of
from event_store.application.select_logs import SelectedLog, SelectLogs
from event_store.gateways.event_rows import EventRows
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Event, EventKind, PhaseEnded
from milepost.event.v1.metrics_pb2 import (
    Aggregation,
    Bucket,
    QueriedRun,
    QueryMetricsRequest,
    QueryMetricsResponse,
    Series,
    SessionStatistic,
)
from milepost.kpi.v1.kpi_pb2 import Kpis
from runtime.errors import CallRefused, FieldViolation
from session_log.run_record import RunRecord

# Sessions of one question, and values of one answer: 1.6 MB of doubles.
MAX_SESSIONS = 1000
MAX_VALUES = 200_000
# Questions that are worked on at a time; others wait for their turn.
AT_ONCE = 2
_KINDS = (EventKind.EVENT_KIND_INTERVAL_CLOSED, EventKind.EVENT_KIND_PHASE_ENDED)
# Two times that mean the same instant differ by less, seconds.
_SAME_S = 1e-6

_STATISTICS: dict["SessionStatistic.ValueType", Callable[[Spread], float]] = {
    SessionStatistic.SESSION_STATISTIC_MEAN: lambda spread: spread.mean,
    SessionStatistic.SESSION_STATISTIC_MIN: lambda spread: spread.least,
    SessionStatistic.SESSION_STATISTIC_MAX: lambda spread: spread.greatest,
    SessionStatistic.SESSION_STATISTIC_STANDARD_DEVIATION: lambda spread: spread.standard_deviation,
}


@dataclass(frozen=True, slots=True)
class QueryMetrics:
    """Serves QueryMetrics."""

    select: SelectLogs
    rows: EventRows
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def __call__(self, tenant: str, request: QueryMetricsRequest) -> QueryMetricsResponse:
        """Raises CallRefused: FIELD_INVALID, and those of FindLog."""
        metrics = _metrics(request)
        async with self.turns:
            logs = await self.select(tenant, request.sessions)
            if len(logs) > MAX_SESSIONS:
                raise _refused("sessions", f"{len(logs)} sessions, at most {MAX_SESSIONS} at a time")
            answer = _Answer(request, metrics)
            for log in logs:
                await self._fold(log, request, answer)
        return answer.response(request)

    async def _fold(self, log: SelectedLog, request: QueryMetricsRequest, answer: "_Answer") -> None:
        record = await record_of(self.rows, log, request.run)
        if record is None:
            answer.sessions.append(QueriedRun(session_id=log.session_id))
            return
        before = Kpis() if record.from_origin else None
        session = _Session(log.session_id, record, request, answer, before=before)
        async for page in pages(self.rows, log, _KINDS):
            for told in page:
                session.take(told.event)
            answer.require_room(answer.each_count + 1)
        session.end()


class _Session:
    """One session on its way into the answer."""

    def __init__(
        self,
        session_id: str,
        record: RunRecord,
        request: QueryMetricsRequest,
        answer: "_Answer",
        *,
        before: Kpis | None,
    ) -> None:
        self._session_id = session_id
        self._record = record
        self._window = Window.of(request)
        self._request = request
        self._answer = answer
        self._stood_at_s = record.begin_s
        self._said: dict[str, Kpis] = {}
        self._fold = RunFold(answer.metrics, self._bucket, before)

    def take(self, event: Event) -> None:
        """One more event of _KINDS."""
        if event.HasField("phase_ended"):
            ended = event.phase_ended
            if self._record.holds_phase_end(event.run, event.step, event.sim_time_s, ended.phase):
                self._settle(ended)
        elif self._record.holds_interval(event.run, event.step):
            self._fold.take(event.sim_time_s, event.interval_closed.kpis)
            self._stood_at_s = event.sim_time_s

    def end(self) -> None:
        """No more events."""
        self._fold.close()
        for name, kpis in self._said.items():
            self._fold.settle(name, kpis)
        self._answer.take(self._session_id, self._record.run, self._fold)

    def _settle(self, ended: PhaseEnded) -> None:
        """What the simulation says of a phase holds unless only a part of it is asked for."""
        if not self._request.by_phase or ended.phase >= len(self._record.phases):
            return
        phase = self._record.phases[ended.phase]
        if not self._window.before(phase.begin_s + _SAME_S) and not self._window.after(phase.end_s - _SAME_S):
            self._said[phase.name] = ended.kpis

    def _bucket(self, sim_time_s: float) -> Key | None:
        if not self._window.holds(sim_time_s):
            return None
        request, buckets = self._request, self._answer.buckets
        if request.by_phase:
            phase = self._record.phase_at(sim_time_s)
            if phase is None:
                return None
            known = buckets.setdefault(phase.name, Bucket(begin_time_s=phase.begin_s, phase=phase.name))
            known.begin_time_s = min(known.begin_time_s, phase.begin_s)
            known.end_time_s = max(known.end_time_s, phase.end_s)
            return phase.name
        if request.HasField("bucket_s"):
            origin_s = request.begin_time_s
            number = math.ceil((sim_time_s - origin_s - _SAME_S) / request.bucket_s) - 1
            if number not in buckets:
                begin_s = origin_s + number * request.bucket_s
                buckets[number] = Bucket(begin_time_s=begin_s, end_time_s=begin_s + request.bucket_s)
            return number
        microseconds = round(sim_time_s * 1e6)
        if microseconds not in buckets:
            buckets[microseconds] = Bucket(begin_time_s=self._stood_at_s, end_time_s=sim_time_s)
        return microseconds


class _Answer:
    """The answer as it grows."""

    def __init__(self, request: QueryMetricsRequest, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.buckets: dict[Key, Bucket] = {}
        self.sessions: list[QueriedRun] = []
        self._across = list(request.across)
        self._each: list[tuple[str, dict[Key, list[float]]]] = []
        self._spreads: list[dict[Key, Spread]] = [{} for _ in metrics]

    @property
    def each_count(self) -> int:
        """Sessions with series of their own so far."""
        return len(self._each)

    def require_room(self, sessions: int) -> None:
        """Raises CallRefused when the answer for so many sessions is larger than it may be."""
        series = len(self.metrics) * (len(self._across) or sessions)
        if len(self.buckets) * series > MAX_VALUES:
            raise _refused(
                "bucket_s",
                f"more than {MAX_VALUES} values: {len(self.buckets)} buckets in {series} series; ask for longer "
                "buckets, fewer metrics or sessions, or a part of the time",
            )

    def take(self, session_id: str, run: int, fold: RunFold) -> None:
        """One more session."""
        self.sessions.append(QueriedRun(session_id=session_id, run=run, intervals=fold.intervals))
        if not self._across:
            self._each.append((session_id, fold.values))
        else:
            for key, values in fold.values.items():
                for spreads, value in zip(self._spreads, values, strict=True):
                    spreads.setdefault(key, Spread()).take(value)

    def response(self, request: QueryMetricsRequest) -> QueryMetricsResponse:
        """The whole. Raises CallRefused."""
        if request.by_phase:
            order = sorted(self.buckets, key=lambda key: (self.buckets[key].begin_time_s, str(key)))
        else:
            order = sorted(self.buckets, key=lambda key: self.buckets[key].end_time_s)
        self.require_room(len(self._each))
        missing = [math.nan] * len(self.metrics)
        each = [
            Series(
                session_id=session_id,
                metric=one.name,
                aggregation=one.aggregation,
                values=[values.get(key, missing)[place] for key in order],
            )
            for session_id, values in self._each
            for place, one in enumerate(self.metrics)
        ]
        nobody = Spread()
        across = [
            Series(
                metric=one.name,
                aggregation=one.aggregation,
                statistic=statistic,
                values=[_STATISTICS[statistic](spreads.get(key, nobody)) for key in order],
            )
            for one, spreads in zip(self.metrics, self._spreads, strict=True)
            for statistic in self._across
        ]
        return QueryMetricsResponse(
            buckets=[self.buckets[key] for key in order], series=[*each, *across], sessions=self.sessions
        )


def _metrics(request: QueryMetricsRequest) -> list[Metric]:
    found = []
    for name in request.metrics:
        if name not in KPI_CLASSES:
            raise _refused("metrics", f"{name!r} is no KPI; there are {', '.join(KPI_CLASSES)}")
        one = metric(name, request.aggregation)
        if one is None:
            word = Aggregation.Name(request.aggregation).removeprefix("AGGREGATION_")
            raise _refused("aggregation", f"{word} means nothing for {name}")
        found.append(one)
    return found


def _refused(name: str, description: str) -> CallRefused:
    return CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        f"{name}: {description}",
        violations=[FieldViolation(name, description)],
    )
