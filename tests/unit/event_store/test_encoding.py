"""Events as they are stored, and frames thinned."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from event_store.gateways.event_bytes import (
    compress,
    decompress,
    frames_of,
    kind_and_payload,
    kinds_mask,
    packed_messages,
    split,
    unpacked_messages,
    watch_response,
)
from event_store.gateways.frame_filter import DEFAULT_MAX_VEHICLES, filtered
from milepost.event.v1.event_pb2 import Event, EventKind, LogLine
from milepost.event.v1.event_service_pb2 import WatchEventsResponse
from milepost.event.v1.frame_pb2 import BoundingBox, Frame, FrameOptions
from milepost.event.v1.record_pb2 import EventBatch, Record
from session_log.codec import BatchHeaders, LogMessage, events, record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@st.composite
def messages(draw: st.DrawFn) -> LogMessage:
    """A message as the broker has it."""
    texts = draw(st.lists(st.tuples(st.text(max_size=300), st.integers(0, 2**31 - 1)), min_size=1, max_size=5))
    steps, times = st.integers(0, 2**62), st.floats(allow_nan=False, allow_infinity=False)
    records = [
        record(LogLine(text=text, dropped=dropped), step=draw(steps), sim_time_s=draw(times)) for text, dropped in texts
    ]
    headers = BatchHeaders(
        first_seq=draw(st.integers(1, 2**62)),
        run=draw(st.integers(1, 2**31 - 1)),
        attempt=draw(st.integers(0, 2**31 - 1)),
        nonce="",
        record_time=EPOCH + timedelta(microseconds=draw(st.integers(0, 4_000_000_000_000_000))),
    )
    return LogMessage(1, headers, EventBatch(records=records))


@given(messages())
def test_stored_events_are_those_of_the_broker_and_their_payloads_the_same_bytes(message: LogMessage) -> None:
    stored = list(split(decompress(compress(frames_of("s", message)))))
    assert [Event.FromString(encoded) for encoded in stored] == list(events("s", message))
    records = message.batch.records
    assert [kind_and_payload(encoded) for encoded in stored] == [(item.kind, item.payload) for item in records]


@given(st.lists(messages(), min_size=1, max_size=3))
def test_frames_of_several_messages_are_one_response_in_order(several: list[LogMessage]) -> None:
    response = watch_response(b"".join(frames_of("s", message) for message in several))
    expected = [event for message in several for event in events("s", message)]
    assert list(WatchEventsResponse.FromString(response).events.events) == expected


def test_a_payload_of_a_kind_this_release_does_not_know_is_passed_on() -> None:
    unknown = max(EventKind.values()) + 1000
    headers = BatchHeaders(1, 1, 1, "", EPOCH)
    message = LogMessage(1, headers, EventBatch(records=[Record(kind=unknown, payload=b"x")]))
    (encoded,) = split(frames_of("s", message))
    event = Event.FromString(encoded)
    assert (event.seq, event.WhichOneof("payload"), kind_and_payload(encoded)) == (1, None, (unknown, b"x"))


@given(st.sets(st.integers(1, 5000)), st.sets(st.integers(1, 5000), min_size=1))
def test_a_mask_never_hides_a_kind_that_is_there(present: set[int], wanted: set[int]) -> None:
    assert 0 <= kinds_mask(present) < 2**63
    if present & wanted:
        assert kinds_mask(present) & kinds_mask(wanted)
    elif max(present | wanted) < 63:
        assert not kinds_mask(present) & kinds_mask(wanted)


@given(st.lists(st.tuples(st.integers(1, 2**62), st.integers(1, 2**31)), min_size=1))
def test_where_messages_end_is_found_again(numbers: list[tuple[int, int]]) -> None:
    first_stream_seq, count = numbers[0]
    assert unpacked_messages(packed_messages(numbers), stream_seq=first_stream_seq, events=count) == numbers


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
