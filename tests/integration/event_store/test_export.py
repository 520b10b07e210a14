"""ExportEvents: what is read back from a table is what the log holds, in every form."""

import io
import json
import random
from collections.abc import Callable
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from google.protobuf.json_format import ParseDict
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, completed, interval, lines, refusal

from milepost.event.v1.event_pb2 import (
    CommandRequested,
    Event,
    EventKind,
    IntervalClosed,
    Label,
    LogLine,
    RunOpened,
    SessionCreated,
)
from milepost.event.v1.export_pb2 import ExportContent, ExportEventsRequest, ExportFormat
from milepost.event.v1.session_set_pb2 import SessionSet
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import SessionSpec
from runtime.settings import DEFAULT_TENANT
from session_log.codec import record

pytestmark = pytest.mark.any_database

HOSTILE = (
    '=HYPERLINK("http://evil")',
    "a,b;c\td",
    "quote \" and \\ and ' end",
    "two\nlines\r\nof text",
    "\u0000\u0001\u2028 zero",
    "<script>alert(1)</script>",
    "日本語 🚗 \u202e reversed",
    "",
)


def arrow(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


def parquet(content: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(content))


def csv(content: bytes) -> pa.Table:
    texts = {name: pa.string() for name in ("session_id", "kind", "payload", "state_digest")}
    options = pa_csv.ConvertOptions(column_types=texts, strings_can_be_null=False)
    return pa_csv.read_csv(
        io.BytesIO(content),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=options,
    )


FORMS: list[tuple[int, Callable[[bytes], pa.Table]]] = [
    (ExportFormat.EXPORT_FORMAT_ARROW_STREAM, arrow),
    (ExportFormat.EXPORT_FORMAT_PARQUET, parquet),
    (ExportFormat.EXPORT_FORMAT_CSV, csv),
]


def hostile_created(name: str, **labels: str) -> SessionCreated:
    return SessionCreated(
        tenant=DEFAULT_TENANT,
        display_name=name,
        labels=[Label(key=key, value=value) for key, value in labels.items()],
        spec=SessionSpec(interval_steps=1),
    )


def interval_of(step: int, **kpis: float) -> Any:
    closed = IntervalClosed(kpis=Kpis(**kpis), state_digest=step.to_bytes(16, "big"))
    return record(closed, step=step, sim_time_s=step / 10)


async def pieces(store: Store, *session_ids: str, **fields: Any) -> list[bytes]:
    request = ExportEventsRequest(sessions=SessionSet(session_ids=session_ids), **fields)
    return [piece.content async for piece in store.events.ExportEvents(request, timeout=PATIENCE_S)]


@pytest.fixture
async def logs(js: JetStreamContext, store: Store) -> list[Log]:
    """Two logs whose every text is hostile."""
    made = []
    for session_id in ("s1", "s2"):
        log = Log(js, session_id)
        await log.append(record(hostile_created(HOSTILE[0], rush=HOSTILE[2])))
        await log.append(*lines(*HOSTILE))
        for text in HOSTILE:
            await log.append(record(CommandRequested(command_id=text, comment=text)), record(LogLine(text=text)))
        for step in range(1, 30):
            await log.append(interval_of(step, running=step, mean_speed_mps=step / 3, total_travel_time_s=1e15 / 7))
        await log.append(completed(30))
        await store.stored(log)
        made.append(log)
    return made


def as_events(table: pa.Table) -> list[Event]:
    """Rows of EVENTS as the events they tell of."""
    found = []
    for row in table.to_pylist():
        event = ParseDict({row["kind"]: json.loads(row["payload"])}, Event())
        getattr(event, row["kind"]).SetInParent()
        for name in ("session_id", "seq", "run", "attempt", "step", "sim_time_s"):
            setattr(event, name, row[name])
        event.record_time.FromDatetime(row["record_time"])
        found.append(event)
    return found


async def test_a_table_of_events_is_what_is_read_in_every_form(store: Store, logs: list[Log]) -> None:
    stored = [*await store.whole_log("s1"), *await store.whole_log("s2")]
    for form, read in FORMS:
        table = read(b"".join(await pieces(store, "s1", "s2", format=form)))
        assert as_events(table) == stored
        times = table.select(["record_time", "stored_time"]).to_pylist()
        assert all(row["stored_time"] >= row["record_time"] for row in times)


async def test_a_table_of_metrics_is_its_intervals_in_every_form(store: Store, logs: list[Log]) -> None:
    intervals = [event for event in await store.whole_log("s1") if event.HasField("interval_closed")]
    for form, read in FORMS:
        table = read(b"".join(await pieces(store, "s1", format=form, content=ExportContent.EXPORT_CONTENT_METRICS)))
        rows = table.to_pylist()
        assert len(rows) == len(intervals) == 29
        for row, event in zip(rows, intervals, strict=True):
            assert Kpis(**{kpi.name: row[kpi.name] for kpi in Kpis.DESCRIPTOR.fields}) == event.interval_closed.kpis
            assert bytes.fromhex(row["state_digest"]) == event.interval_closed.state_digest
            place = (event.seq, event.run, event.step, event.sim_time_s)
            assert (row["seq"], row["run"], row["step"], row["sim_time_s"]) == place


async def test_only_the_kinds_and_times_asked_for(store: Store, logs: list[Log]) -> None:
    form = ExportFormat.EXPORT_FORMAT_ARROW_STREAM
    of_kind = arrow(b"".join(await pieces(store, "s2", format=form, kinds=[EventKind.EVENT_KIND_LOG_LINE])))
    assert [event.log_line.text for event in as_events(of_kind)] == [*HOSTILE, *HOSTILE]
    in_time = arrow(b"".join(await pieces(store, "s2", format=form, begin_time_s=1.0, end_time_s=1.3)))
    assert in_time.column("step").to_pylist() == [11, 12, 13]
    nothing = arrow(b"".join(await pieces(store, "s2", format=form, begin_time_s=1e6)))
    assert nothing.num_rows == 0
    assert nothing.column_names == of_kind.column_names


async def test_sessions_are_found_by_label(js: JetStreamContext, store: Store, logs: list[Log]) -> None:
    other = Log(js, "other")
    await other.append(record(hostile_created("other", rush="no")))
    await store.stored(other)

    async def found(**fields: Any) -> list[str]:
        request = ExportEventsRequest(format=ExportFormat.EXPORT_FORMAT_CSV, **fields)
        content = b"".join([piece.content async for piece in store.events.ExportEvents(request, timeout=PATIENCE_S)])
        return sorted(set(csv(content).column("session_id").to_pylist()))

    assert await found(sessions=SessionSet(labels={"rush": HOSTILE[2]})) == ["s1", "s2"]
    assert await found(sessions=SessionSet(labels={"rush": "no"})) == ["other"]
    assert await found(sessions=SessionSet(session_ids=["s2", "other"], labels={"rush": "no"})) == ["other"]
    assert await found() == ["other", "s1", "s2"]


async def test_the_run_asked_for_holds_what_it_inherited(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(record(SessionCreated(tenant=DEFAULT_TENANT, spec=SessionSpec(interval_steps=2))))
    # Run 1 ended early at step 5; run 2 goes on from step 4.
    await log.append(interval(2), interval(4), interval(5), completed(5))
    opened = RunOpened(run=2, base_run=1, step=4, spec=SessionSpec(interval_steps=2))
    await log.writer.append([record(opened), interval(6), interval(8)], run=2, attempt=2)
    log.appended += [record(opened), interval(6), interval(8)]
    await store.stored(log)

    async def steps(run: int) -> list[tuple[int, int]]:
        content = await pieces(
            store,
            "s",
            format=ExportFormat.EXPORT_FORMAT_PARQUET,
            content=ExportContent.EXPORT_CONTENT_METRICS,
            run=run,
        )
        return [(row["run"], row["step"]) for row in parquet(b"".join(content)).to_pylist()]

    assert await steps(0) == await steps(2) == [(1, 2), (1, 4), (2, 6), (2, 8)]
    assert await steps(1) == [(1, 2), (1, 4), (1, 5)]
    assert await steps(3) == []


async def test_a_long_table_comes_in_small_pieces(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    noise = random.Random(1)
    for _ in range(30):
        await log.append(*lines(noise.randbytes(100_000).hex()))
    await store.stored(log)
    for form, read in FORMS:
        found = await pieces(store, "s", format=form)
        assert len(found) > 3
        assert max(map(len, found)) <= 1024 * 1024
        assert as_events(read(b"".join(found))) == await store.whole_log("s")


async def test_a_wrong_field_is_named(store: Store) -> None:
    for fields, reason, named in (
        ({}, "FIELD_INVALID", "format"),
        ({"format": 1, "content": 2, "kinds": [20]}, "FIELD_INVALID", "kinds"),
        ({"format": 1, "run": -1}, "FIELD_INVALID", "run"),
        ({"format": 1, "sessions": SessionSet(session_ids=["nobody"])}, "SESSION_NOT_FOUND", "nobody"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in store.events.ExportEvents(ExportEventsRequest(**fields), timeout=PATIENCE_S):
                pass
        assert refusal(raised.value)[1] == reason
        assert named in (raised.value.details() or "")
