"""Rows as serialised events, and frames thinned."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from event_store.gateways.event_bytes import event_bytes, watch_response_bytes
from event_store.gateways.frame_filter import DEFAULT_MAX_VEHICLES, filtered
from milepost.event.v1.event_pb2 import Event, EventKind, LogLine
from milepost.event.v1.event_service_pb2 import WatchEventsResponse
from milepost.event.v1.frame_pb2 import BoundingBox, Frame, FrameOptions
from session_log.codec import BatchHeaders, LogMessage, events, record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@st.composite
def rows(draw: st.DrawFn) -> tuple[SimpleNamespace, Event]:
    """A row, and the event it is."""
    payload = LogLine(text=draw(st.text(max_size=300)), dropped=draw(st.integers(0, 2**31 - 1)))
    item = record(
        payload, step=draw(st.integers(0, 2**62)), sim_time_s=draw(st.floats(allow_nan=False, allow_infinity=False))
    )
    micros = draw(st.integers(0, 4_000_000_000_000_000))
    headers = BatchHeaders(
        first_seq=draw(st.integers(1, 2**62)),
        run=draw(st.integers(1, 2**31 - 1)),
        attempt=draw(st.integers(0, 2**31 - 1)),
        nonce="",
        record_time=EPOCH + timedelta(microseconds=micros),
    )
    row = SimpleNamespace(
        seq=headers.first_seq,
        run=headers.run,
        attempt=headers.attempt,
        step=item.step,
        sim_time_s=item.sim_time_s,
        record_us=micros,
        kind=item.kind,
        payload=item.payload,
    )
    message = LogMessage(1, headers, SimpleNamespace(records=[item]))  # type: ignore[arg-type]
    return row, next(events("s", message))


@given(rows())
def test_a_row_is_the_event_that_the_broker_has(pair: tuple[SimpleNamespace, Event]) -> None:
    row, event = pair
    assert Event.FromString(event_bytes("s", row)) == event  # type: ignore[arg-type]


@given(st.lists(rows(), min_size=1, max_size=5))
def test_rows_are_one_response_in_order(pairs: list[tuple[SimpleNamespace, Event]]) -> None:
    encoded = watch_response_bytes("s", [row for row, _ in pairs])  # type: ignore[misc]
    assert list(WatchEventsResponse.FromString(encoded).events.events) == [event for _, event in pairs]


def test_a_payload_of_a_kind_this_release_does_not_know_is_passed_on() -> None:
    row = SimpleNamespace(
        seq=1, run=1, attempt=1, step=0, sim_time_s=0.0, record_us=0, kind=max(EventKind.values()) + 1000, payload=b"x"
    )
    event = Event.FromString(event_bytes("s", row))  # type: ignore[arg-type]
    assert (event.seq, event.WhichOneof("payload"), event.ByteSize() > 10) == (1, None, True)


def frame(count: int) -> Frame:
    return Frame(
        step=7,
        sim_time_s=0.7,
        ids=[f"v{n}" for n in range(count)],
        x=range(count),
        y=[-n for n in range(count)],
        speed_mps=range(count),
        angle_deg=range(count),
        vehicles_total=count,
    )


@given(
    st.integers(0, 60),
    st.one_of(st.none(), st.tuples(st.integers(-5, 60), st.integers(-5, 60))),
    st.integers(0, 50),
)
def test_a_thinned_frame_keeps_columns_together(count: int, span: tuple[int, int] | None, limit: int) -> None:
    box = BoundingBox(x_min=span[0], x_max=span[1], y_min=-100, y_max=0) if span else None
    thinned = filtered(frame(count), FrameOptions(max_hz=1, box=box, max_vehicles=limit))
    kept = [int(name[1:]) for name in thinned.ids]
    inside = [n for n in range(count) if span is None or span[0] <= n <= span[1]]
    assert len(kept) == min(len(inside), limit or DEFAULT_MAX_VEHICLES)
    assert set(kept) <= set(inside)
    assert kept == sorted(kept)
    for column in (thinned.x, thinned.speed_mps, thinned.angle_deg, [-y for y in thinned.y]):
        assert list(column) == kept
    assert (thinned.step, thinned.vehicles_total) == (7, count)


def test_the_vehicles_that_were_chosen_stay_while_others_come_and_go() -> None:
    options = FrameOptions(max_hz=1, max_vehicles=10)
    many = set(filtered(frame(100), options).ids)
    fewer = set(filtered(frame(90), options).ids)
    assert many & {f"v{n}" for n in range(90)} <= fewer
