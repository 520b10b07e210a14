"""The head of a watched log: it only ever moves on, and all who wait hear of it."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from event_store.application.heads import WatchedLog
from event_store.gateways.event_rows import Head


def head(seq: int, oldest: int = 1) -> Head:
    return Head(log_key=1, oldest_seq=oldest, head_seq=seq, head_kind=20, stream_seq=seq)


@given(st.lists(st.integers(1, 20), min_size=1))
def test_looks_that_overlap_never_take_the_head_back(looks: list[int]) -> None:
    log = WatchedLog(("t", "s"))
    for n, seq in enumerate(looks, start=1):
        log.seen(head(seq))
        assert log.head == head(max(looks[:n]))


def test_whoever_sees_it_first_kicks_all_the_others() -> None:
    kicks = {asyncio.Event() for _ in range(3)}
    log = WatchedLog(("t", "s"), head(1), kicks)
    log.seen(head(1))
    assert not any(kick.is_set() for kick in kicks)
    log.seen(head(2))
    assert all(kick.is_set() for kick in kicks)


def test_a_beginning_that_was_cut_off_is_seen_though_the_end_stays() -> None:
    log = WatchedLog(("t", "s"), head(5))
    log.seen(head(5, oldest=3))
    assert log.head == head(5, oldest=3)
