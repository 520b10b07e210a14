"""Subjects are read from the contracts."""

import pytest

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import binding, is_token, subject, tokens_of


def test_a_subject_is_built_from_the_contract_and_read_back() -> None:
    built = subject(EventBatch, tenant="t", session="s-1")
    assert (built, binding(EventBatch).stream) == ("milepost.log.t.s-1", "SESSIONS")
    assert tokens_of(EventBatch, built) == {"tenant": "t", "session": "s-1"}


def test_a_star_makes_a_filter() -> None:
    assert subject(WorkOrder, pool="p", **{"class": "c"}, tenant="t", session="*") == "milepost.work.p.c.t.*"


@pytest.mark.parametrize("token", ["", "a.b", "a b", ">", "a*", "a\r\nPUB x 0", "a\x00", "a\n"])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert not is_token(token)
    with pytest.raises(ValueError, match="is not a subject token"):
        subject(EventBatch, tenant="t", session=token)


def test_a_message_without_an_address_has_none() -> None:
    with pytest.raises(KeyError):
        binding(Event)
