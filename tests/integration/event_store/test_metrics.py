"""QueryMetrics: KPIs in buckets of time, per phase, over sets of sessions."""

import math
from typing import Any

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, refusal

from event_store.application import query_metrics
from milepost.event.v1.event_pb2 import IntervalClosed, Label, PhaseEnded, RunOpened, SessionCreated, SessionDeleted
from milepost.event.v1.metrics_pb2 import Aggregation, QueryMetricsRequest, QueryMetricsResponse, SessionStatistic
from milepost.event.v1.record_pb2 import Record
from milepost.event.v1.session_set_pb2 import SessionSet
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import ForkOrigin, PlannedPhase, SessionSpec
from runtime.settings import DEFAULT_TENANT
from session_log.codec import record

pytestmark = pytest.mark.any_database

SPEC = SessionSpec(
    interval_steps=10,
    plan=[PlannedPhase(name="warm", duration_s=25), PlannedPhase(name="rush", duration_s=75)],
)
MEAN, MIN = SessionStatistic.SESSION_STATISTIC_MEAN, SessionStatistic.SESSION_STATISTIC_MIN
MAX, DEVIATION = SessionStatistic.SESSION_STATISTIC_MAX, SessionStatistic.SESSION_STATISTIC_STANDARD_DEVIATION
missing = pytest.approx(math.nan, nan_ok=True)


def created(forked_from: ForkOrigin | None = None, **labels: str) -> Record:
    pairs = [Label(key=key, value=value) for key, value in labels.items()]
    return record(SessionCreated(tenant=DEFAULT_TENANT, spec=SPEC, labels=pairs, forked_from=forked_from))


def at(time_s: int, *, running: int = 0, factor: int = 1) -> Record:
    """An interval of a session in which `factor` vehicles arrive in each second, after 2 s each, then 4."""
    arrived = time_s * factor
    mean_s = 2.0 if time_s <= 50 else (2 * 50 + 4 * (time_s - 50)) / time_s
    kpis = Kpis(
        running=running,
        arrived=arrived,
        trips=arrived,
        mean_travel_time_s=mean_s,
        mean_speed_mps=running / 2 if running else -1,
    )
    return record(IntervalClosed(kpis=kpis), step=time_s, sim_time_s=time_s)


async def stored(js: JetStreamContext, store: Store, session_id: str, *records: Record) -> Log:
    log = Log(js, session_id)
    await log.append(*records)
    await store.stored(log)
    return log


async def ask(store: Store, *metrics: str, sessions: Any = (), **fields: Any) -> QueryMetricsResponse:
    wanted = sessions if isinstance(sessions, SessionSet) else SessionSet(session_ids=sessions)
    request = QueryMetricsRequest(sessions=wanted, metrics=metrics, **fields)
    answer = await store.events.QueryMetrics(request, timeout=PATIENCE_S)
    assert all(len(series.values) == len(answer.buckets) for series in answer.series)
    return answer


def values(answer: QueryMetricsResponse) -> list[list[float]]:
    return [list(series.values) for series in answer.series]


async def test_buckets_of_time_hold_what_came_about_in_them(js: JetStreamContext, store: Store) -> None:
    await stored(js, store, "s", created(), *(at(time_s, running=time_s) for time_s in range(10, 101, 10)))
    asked = ("arrived", "running", "mean_travel_time_s")

    natural = await ask(store, *asked, sessions=["s"], bucket_s=50)
    assert [(bucket.begin_time_s, bucket.end_time_s) for bucket in natural.buckets] == [(0, 50), (50, 100)]
    assert values(natural) == [[50, 50], [30, 80], [2, 4]]
    last = await ask(store, *asked, sessions=["s"], bucket_s=50, aggregation=Aggregation.AGGREGATION_LAST)
    assert values(last) == [[50, 100], [50, 100], [2, 3]]
    part = await ask(store, *asked, sessions=["s"], bucket_s=30, begin_time_s=20, end_time_s=60)
    assert [(bucket.begin_time_s, bucket.end_time_s) for bucket in part.buckets] == [(20, 50), (50, 80)]
    assert values(part) == [[30, 10], [40, 60], [2, 4]]
    each = await ask(store, "arrived", sessions=["s"])
    assert [bucket.end_time_s for bucket in each.buckets] == list(range(10, 101, 10))
    assert values(each) == [[10] * 10]


async def test_a_phase_is_what_the_simulation_says_it_was(js: JetStreamContext, store: Store) -> None:
    said = Kpis(arrived=25, trips=25, mean_travel_time_s=1.5)
    await stored(
        js,
        store,
        "s",
        created(),
        at(10, running=1),
        at(20, running=3),
        record(PhaseEnded(phase=0, kpis=said), step=25, sim_time_s=25),
        *(at(time_s, running=5) for time_s in range(30, 61, 10)),
    )
    answer = await ask(store, "arrived", "running", "mean_travel_time_s", sessions=["s"], by_phase=True)
    assert [(one.phase, one.begin_time_s, one.end_time_s) for one in answer.buckets] == [
        ("warm", 0, 25),
        ("rush", 25, 100),
    ]
    # The second phase is not over: what its intervals tell of it.
    assert values(answer)[:2] == [[25, 40], [2, 5]]
    assert values(answer)[2] == [1.5, pytest.approx((30 * 2 + 10 * 4) / 40)]
    cut = await ask(store, "arrived", sessions=["s"], by_phase=True, begin_time_s=10)
    assert values(cut) == [[10, 40]]


async def test_sessions_are_compared_and_summed_up(js: JetStreamContext, store: Store) -> None:
    for number in (1, 2, 6):
        rows = [at(time_s, running=number, factor=number) for time_s in (10, 20)]
        await stored(js, store, f"s{number}", created(kind="sweep"), *rows)
    await stored(js, store, "short", created(kind="sweep"), at(10))
    await stored(js, store, "other", created(kind="other"), at(10, factor=100))
    await stored(js, store, "gone", created(kind="sweep"), at(10, factor=100), record(SessionDeleted()))
    sweep = SessionSet(labels={"kind": "sweep"})

    each = await ask(store, "arrived", sessions=sweep, bucket_s=10)
    assert [series.session_id for series in each.series] == ["s1", "s2", "s6", "short"]
    assert values(each) == [[10, 10], [20, 20], [60, 60], [10, missing]]
    across = await ask(store, "arrived", sessions=sweep, bucket_s=10, across=[MEAN, MIN, MAX, DEVIATION])
    assert [series.statistic for series in across.series] == [MEAN, MIN, MAX, DEVIATION]
    assert values(across) == [[25, 30], [10, 10], [60, 60], [pytest.approx(23.804761), pytest.approx(26.457513)]]
    everybody = await ask(store, "arrived", bucket_s=100)
    assert [one.session_id for one in everybody.sessions] == ["other", "s1", "s2", "s6", "short"]
    speed = await ask(store, "mean_speed_mps", sessions=["s6", "short"], bucket_s=100)
    assert values(speed) == [[3], [missing]]


async def test_the_latest_run_holds_what_it_inherited(js: JetStreamContext, store: Store) -> None:
    # Run 1 ended early; run 2 goes on from 20 s.
    log = await stored(js, store, "s", created(), at(10), at(20), at(25), at(27))
    again = [record(RunOpened(run=2, base_run=1, step=20, spec=SPEC)), at(30, factor=3)]
    await log.writer.append(again, run=2, attempt=2)
    await store.read("s", cursor=7)
    fork = created(forked_from=ForkOrigin(session_id="s", step=20))
    await stored(js, store, "fork", fork, at(30), at(40))

    latest = await ask(store, "arrived", sessions=["s"])
    first = await ask(store, "arrived", sessions=["s"], run=1)
    none = await ask(store, "arrived", sessions=["s"], run=7)
    forked = await ask(store, "arrived", sessions=["fork"])
    assert ([one.run for one in latest.sessions], values(latest)) == ([2], [[10, 10, 70]])
    assert ([one.intervals for one in first.sessions], values(first)) == ([4], [[10, 10, 5, 2]])
    assert ([one.run for one in none.sessions], values(none)) == ([0], [])
    assert values(forked) == [[missing, 10]]


async def test_a_wrong_question_is_refused_by_its_field(
    js: JetStreamContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(js, store, "s", created(), at(10), at(20))
    await stored(js, store, "t", created(), at(10))
    monkeypatch.setattr(query_metrics, "MAX_VALUES", 1)

    async def of(*metrics: str, **fields: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(store, *metrics, **fields)
        assert refusal(raised.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
        return (raised.value.details() or "").partition(":")[0]

    assert await of() == "metrics"
    assert await of("happiness") == "metrics"
    assert await of("approximate_trips") == "metrics"
    assert await of("running", aggregation=Aggregation.AGGREGATION_INCREMENT) == "aggregation"
    assert await of("arrived", aggregation=Aggregation.AGGREGATION_MEAN) == "aggregation"
    assert await of("arrived", bucket_s=0) == "bucket_s"
    assert await of("arrived", sessions=["s"]) == "bucket_s"
    monkeypatch.setattr(query_metrics, "MAX_SESSIONS", 1)
    assert await of("arrived") == "sessions"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(store, "arrived", sessions=["nobody"])
    assert refusal(raised.value)[1] == "SESSION_NOT_FOUND"
