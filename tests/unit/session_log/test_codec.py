"""Records, headers and events."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.event.v1.event_pb2 import Event, EventKind, IntervalClosed, SessionCompleted
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.options.v1 import options_pb2
from session_log.codec import (
    SIMULATION_KINDS,
    TERMINAL_KINDS,
    BatchHeaders,
    LogMessage,
    event_kind,
    events,
    kind_of,
    payload_of,
    record,
)
from session_log.writer import MAX_BATCH_BYTES, split

HEADERS = BatchHeaders(7, 1, 2, "n", datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC))


def test_kinds_of_the_enum_are_the_field_numbers_of_the_payloads() -> None:
    fields = Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    assert {f"EVENT_KIND_{field.name.upper()}": field.number for field in fields} == {
        name: number for name, number in EventKind.items() if number
    }


def test_every_payload_says_whether_it_is_judged() -> None:
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        options = field.message_type.GetOptions()
        assert options.Extensions[options_pb2.event_class] != options_pb2.EVENT_CLASS_UNSPECIFIED, field.name


def test_simulation_payloads_hold_no_map_and_no_time_stamp() -> None:
    def check(descriptor: object, path: str) -> None:
        for field in descriptor.fields:  # type: ignore[attr-defined]
            assert not (field.message_type and field.message_type.GetOptions().map_entry), f"{path}.{field.name}"
            if field.message_type:
                assert field.message_type.full_name != "google.protobuf.Timestamp", f"{path}.{field.name}"
                check(field.message_type, f"{path}.{field.name}")

    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        if field.number in SIMULATION_KINDS:
            check(field.message_type, field.name)


def test_terminal_kinds_are_those_that_end_a_session_or_a_study() -> None:
    assert {EventKind.Name(kind) for kind in TERMINAL_KINDS} == {
        "EVENT_KIND_SESSION_COMPLETED",
        "EVENT_KIND_SESSION_FAILED",
        "EVENT_KIND_SESSION_CANCELLED",
        "EVENT_KIND_STUDY_COMPLETED",
        "EVENT_KIND_STUDY_CANCELLED",
    }


def test_headers_survive_the_wire() -> None:
    assert BatchHeaders.decode(HEADERS.encode()) == HEADERS


@given(st.binary(max_size=16), st.integers(0, 2**40), st.floats(0, 1e9))
def test_a_record_becomes_an_event_and_keeps_its_bytes(digest: bytes, step: int, sim_time_s: float) -> None:
    closed = IntervalClosed(state_digest=digest)
    source = record(closed, step=step, sim_time_s=sim_time_s)
    message = LogMessage(11, HEADERS, EventBatch(records=[source, record(SessionCompleted())]))

    first, second = events("s", message)

    assert (first.session_id, first.seq, first.run, first.attempt) == ("s", 7, 1, 2)
    assert (first.step, first.sim_time_s, first.interval_closed) == (step, sim_time_s, closed)
    assert event_kind(first) == source.kind == kind_of(IntervalClosed)
    assert payload_of(first) == source.payload
    assert (second.seq, message.last_seq) == (8, 8)
    assert second.HasField("session_completed"), "an empty payload is a payload"


def test_a_message_that_is_no_payload_has_no_kind() -> None:
    with pytest.raises(KeyError):
        kind_of(EventBatch)


@given(st.lists(st.integers(0, MAX_BATCH_BYTES + 10), max_size=8))
def test_batches_are_bounded_and_keep_every_record_in_order(sizes: list[int]) -> None:
    records = [Record(kind=20, step=n, payload=bytes(size)) for n, size in enumerate(sizes)]
    batches = split(records)
    assert [item for batch in batches for item in batch] == records
    for batch in batches:
        assert len(batch) == 1 or EventBatch(records=batch).ByteSize() <= MAX_BATCH_BYTES
