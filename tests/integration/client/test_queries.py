"""Tables, KPIs, reports and statistics from the command line and from Python, against a running stack."""

import io
import json
from contextlib import aclosing
from html.parser import HTMLParser

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.export_pb2 import ExportContent, ExportEventsRequest, ExportFormat
from milepost.event.v1.metrics_pb2 import Aggregation
from milepost.event.v1.session_set_pb2 import SessionSet
from milepost.intervention.v1.intervention_pb2 import Intervention, Place, SetSpeedLimit
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import PhaseKind, PlannedPhase, SessionSpec, SessionState

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAME = '<script>alert("x")</script> & [bold]co'


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sessions(stack, lasting_city) -> tuple[str, str]:
    """A session that completed, and a fork of it that was steered from its first step on."""
    client = stack.client
    scenario = await client.scenarios.upload(lasting_city)
    plan = [
        PlannedPhase(name="warm", kind=PhaseKind.PHASE_KIND_WARM_UP, duration_s=100),
        PlannedPhase(name="rush", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=200),
    ]
    spec = SessionSpec(scenario_digest=scenario.digest, seed=1, plan=plan)
    spec.checkpoints.every_sim_s = 100
    base = await client.sessions.run(spec, display_name=NAME)
    assert base.state == SessionState.SESSION_STATE_COMPLETED
    slower = Intervention(set_speed_limit=SetSpeedLimit(place=Place(edge_ids=["B1B2"]), speed_mps=3))
    fork = await client.sessions.fork(base.session_id, sim_time_s=100, interventions=[slower])
    await client.sessions.wait(fork.session_id)
    return base.session_id, fork.session_id


async def test_kpis_of_a_real_run_are_those_its_log_tells(milepost, stack, sessions):
    session_id = sessions[0]
    kinds = [EventKind.EVENT_KIND_INTERVAL_CLOSED]
    intervals = [event async for event in stack.client.events.read(session_id, kinds=kinds)]
    phases = (await stack.client.sessions.get(session_id)).phases
    metrics = stack.client.events.metrics

    last = await metrics(["arrived"], session_ids=[session_id], aggregation=Aggregation.AGGREGATION_LAST)
    assert [bucket.end_time_s for bucket in last.buckets] == [event.sim_time_s for event in intervals]
    assert list(last.series[0].values) == [event.interval_closed.kpis.arrived for event in intervals]
    buckets = await metrics(["arrived", "departed"], session_ids=[session_id], bucket_s=60)
    final = intervals[-1].interval_closed.kpis
    assert [sum(series.values) for series in buckets.series] == [final.arrived, final.departed]
    by_phase = await metrics(["arrived", "mean_travel_time_s"], session_ids=[session_id], by_phase=True)
    assert [bucket.phase for bucket in by_phase.buckets] == ["warm", "rush"]
    assert [list(series.values) for series in by_phase.series] == [
        [phase.kpis.arrived for phase in phases],
        [phase.kpis.mean_travel_time_s for phase in phases],
    ]
    shown = await milepost("metrics", session_id, "--by-phase", "-m", "arrived")
    assert "rush" in shown.out


async def test_exports_are_read_by_other_programs(milepost, stack, sessions, tmp_path):
    session_id = sessions[0]
    stored = [event async for event in stack.client.events.read(session_id)]

    to = tmp_path / "events.parquet"
    done = await milepost("export", session_id, "-o", to)
    assert (done.exit_code, done.out) == (0, ""), done.err
    table = pq.read_table(to)
    assert table.column("seq").to_pylist() == [event.seq for event in stored]
    assert json.loads(table.column("payload")[0].as_py())["display_name"] == NAME
    assert [path.name for path in tmp_path.iterdir()] == ["events.parquet"]

    request = ExportEventsRequest(
        sessions=SessionSet(session_ids=[session_id]),
        format=ExportFormat.EXPORT_FORMAT_CSV,
        content=ExportContent.EXPORT_CONTENT_METRICS,
    )
    piped = await milepost("export", session_id, "--what", "metrics", "--format", "csv", "-o", "-")
    assert piped.out.encode() == b"".join([piece async for piece in stack.client.events.export(request)])
    rows = pa_csv.read_csv(io.BytesIO(piped.out.encode())).to_pylist()
    assert [Kpis(**{kpi.name: row[kpi.name] for kpi in Kpis.DESCRIPTOR.fields}) for row in rows] == [
        event.interval_closed.kpis for event in stored if event.HasField("interval_closed")
    ]


class Reader(HTMLParser):
    """The elements of a page, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, name, _attributes):
        self.tags.append(name)

    def handle_data(self, text):
        self.words += text + "\n"


async def test_a_report_compares_sessions_of_which_one_was_branched_off_and_steered(milepost, sessions, tmp_path):
    page, picture = tmp_path / "report.html", tmp_path / "report.png"

    told = await milepost("report", *sessions, "-o", page, "--picture", picture)

    assert (told.exit_code, told.err) == (0, "")
    read = Reader(page.read_text())
    assert read.tags.count("script") == 2
    for words in (NAME, "warm", "rush", "limit edge B1B2 to 3 m/s", f"forked from {sessions[0]}", "schedule"):
        assert words in read.words, words
    assert "http" not in page.read_text().replace("http-equiv", "")
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_statistics_of_what_was_run(milepost, stack, sessions):
    shown = await milepost("stats")
    found = await stack.client.sessions.statistics()
    nobody = await stack.client.sessions.statistics(labels={"no": "body"})
    [worker] = found.workers
    assert found.sessions >= 2
    assert found.preparation_s.count >= 2
    assert worker.present
    assert worker.attempts >= 2
    assert (shown.exit_code, worker.worker_id in shown.out) == (0, True)
    assert nobody.sessions == 0


async def test_top_shows_workers_what_has_not_ended_who_watches_it_and_how_far_anything_is_behind(
    milepost, stack, sessions
):
    digest = (await stack.client.sessions.get(sessions[0])).spec.scenario_digest
    name = (await stack.client.sessions.create(SessionSpec(scenario_digest=digest, start_paused=True))).session_id
    async with aclosing(stack.client.events.watch(name)) as watch:
        async for item in watch:
            if isinstance(item, Event) and item.HasField("paused"):
                break
        shown = await milepost("top", "--once")
        told = await milepost("top", "--output", "json")
    await stack.client.sessions.cancel(name)

    assert shown.exit_code == 0, shown.err
    row = next(line for line in shown.out.splitlines() if line.split()[:1] == [name])
    assert row.split()[1:3] == ["running", "worker-1"]
    assert "paused" in row
    worker = next(line for line in shown.out.splitlines() if line.split()[:1] == ["worker-1"])
    assert "GiB" in worker
    assert worker.split()[-1] == "yes"
    assert "behind the broker" in shown.out
    assert not any(ended in shown.out for ended in sessions)
    statistics, *living = map(json.loads, told.out.splitlines())
    assert int(statistics["workers"][0]["memory_free_bytes"]) > 0
    assert [session["session_id"] for session in living] == [name]
    assert (await stack.client.events.head(name)).watchers == 0
