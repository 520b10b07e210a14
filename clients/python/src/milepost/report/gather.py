"""Everything a report tells, asked of a server."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.metrics_pb2 import QueryMetricsResponse
from milepost.report.history import KINDS, History
from milepost.report.panels import PANELS
from milepost.session.v1.session_pb2 import Session

# Sessions of one report: more cannot be told apart in a plot.
MAX_SESSIONS = 12
# About how many points a line has: few enough that a signal's cycle of a minute or two is no noise.
_POINTS = 45
# Events and attempts of a session that are looked at; a report of more would not be read.
_MAX_EVENTS = 20_000
_MAX_ATTEMPTS = 200
_LENGTHS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)
PHASE_METRICS = (
    "departed",
    "arrived",
    "mean_speed_mps",
    "mean_travel_time_s",
    "mean_time_loss_s",
    "mean_waiting_time_s",
)


@dataclass(frozen=True, slots=True)
class ReportedSession:
    """A session and its history."""

    session: Session
    history: History

    @property
    def name(self) -> str:
        """What humans call it."""
        return self.session.display_name or self.session.session_id

    @property
    def end_s(self) -> float:
        """How far it has come, simulated seconds."""
        return self.session.progress.sim_time_s


@dataclass(frozen=True, slots=True)
class Report:
    """What is told, in the order the sessions were named."""

    sessions: Sequence[ReportedSession]
    metrics: QueryMetricsResponse
    bucket_s: float
    phases: QueryMetricsResponse
    made: datetime

    @property
    def begin_s(self) -> float:
        """Where the time axis begins, simulated seconds."""
        return min(one.history.runs[0].begin_s if one.history.runs else one.history.begin_s for one in self.sessions)

    @property
    def spans(self) -> Mapping[str, tuple[float, float]]:
        """From when to when each session was simulated, simulated seconds, by id."""
        return {one.session.session_id: (one.history.begin_s, one.end_s) for one in self.sessions}

    @property
    def end_s(self) -> float:
        """Where the time axis ends, simulated seconds."""
        ends = (run.end_s for one in self.sessions for run in one.history.runs)
        return max((*ends, *(one.end_s for one in self.sessions), self.begin_s + 1))


async def gather(
    client: Milepost, session_ids: Sequence[str], *, now: datetime, bucket_s: float | None = None
) -> Report:
    """A report of sessions as they are now, with lines in steps of `bucket_s`.

    Raises MilepostError; ValueError for too many sessions or none.
    """
    if not 0 < len(session_ids) <= MAX_SESSIONS:
        raise ValueError(f"a report is of 1 to {MAX_SESSIONS} sessions, not of {len(session_ids)}")
    sessions = [await _reported(client, session_id) for session_id in session_ids]
    bucket_s = bucket_s or bucket_length_s([one.session for one in sessions])
    metrics = await client.events.metrics(
        [panel.metric for panel in PANELS], session_ids=session_ids, bucket_s=bucket_s
    )
    phases = QueryMetricsResponse()
    if any(one.session.spec.plan for one in sessions):
        phases = await client.events.metrics(PHASE_METRICS, session_ids=session_ids, by_phase=True)
    return Report(sessions, metrics, bucket_s, phases, now)


def bucket_length_s(sessions: Sequence[Session]) -> float:
    """A round length that gives lines about as many points as they can show, and none shorter than an interval."""
    span_s = max(one.progress.sim_time_s for one in sessions) - min(one.progress.begin_time_s for one in sessions)
    intervals_s = (
        max(1, one.spec.interval_steps) * (one.progress.sim_time_s - one.progress.begin_time_s) / one.progress.step
        for one in sessions
        if one.progress.step
    )
    least_s = max(span_s / _POINTS, *intervals_s, 0.001)
    return next((float(length) for length in _LENGTHS_S if length >= least_s * 0.999), math.ceil(least_s))


async def _reported(client: Milepost, session_id: str) -> ReportedSession:
    session = await client.sessions.get(session_id, full=True)
    events: list[Event] = []
    # From the end: of a log whose beginning is not kept any more, what is left.
    async for event in client.events.read(session_id, kinds=KINDS, descending=True):
        events.append(event)
        if len(events) == _MAX_EVENTS:
            break
    events.reverse()
    claims = [event for event in events if event.HasField("attempt_claimed")]
    heads = {claim.seq: await _last_interval(client, session_id, claim.seq) for claim in claims[1:_MAX_ATTEMPTS]}

    def head_before(seq: int, run: int) -> float | None:
        last = heads.get(seq)
        return last.sim_time_s if last is not None and last.run == run else None

    history = History(session.scene.begin_time_s, head_before)
    for event in events:
        history.take(event)
    for run, follower in zip(history.runs, [*history.runs[1:], None], strict=True):
        if follower is None:
            run.end_s = max(run.begin_s, session.progress.sim_time_s)
        else:
            opened = next(event for event in events if event.run_opened.run == follower.run)
            last = await _last_interval(client, session_id, opened.seq)
            run.end_s = last.sim_time_s if last is not None and last.run == run.run else run.begin_s
    return ReportedSession(session, history)


async def _last_interval(client: Milepost, session_id: str, before_seq: int) -> Event | None:
    intervals = client.events.read(
        session_id,
        cursor=before_seq,
        kinds=(EventKind.EVENT_KIND_INTERVAL_CLOSED,),
        descending=True,
        page_size=1,
    )
    return await anext(aiter(intervals), None)
