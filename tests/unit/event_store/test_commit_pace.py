"""Transactions follow each other soon while that is rare, or somebody watches."""

from event_store.application.commit_pace import BURST, COMMIT_PERIOD_S, RATE_HZ, CommitPace

TOOK_S = 0.005


class Clock:
    """Stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def commit(pace: CommitPace, clock: Clock, *, more: bool = False) -> float:
    """One transaction and the rest after it; from the begin of this one to the next, seconds."""
    began = clock.now
    clock.now += TOOK_S
    clock.now += pace.rest_s(began, more=more)
    return round(clock.now - began, 6)


def test_a_burst_and_then_a_steady_rate() -> None:
    clock = Clock()
    pace = CommitPace(monotonic=clock)
    periods = [commit(pace, clock) for _ in range(200)]
    assert set(periods[:BURST]) == {COMMIT_PERIOD_S}
    assert set(periods[-100:]) == {1 / RATE_HZ}


def test_a_stream_that_pauses_is_never_kept_waiting() -> None:
    clock = Clock()
    pace = CommitPace(monotonic=clock)
    for _ in range(4 * BURST):
        assert commit(pace, clock) == COMMIT_PERIOD_S
        clock.now += 1 / RATE_HZ


def test_a_busy_stream_has_its_burst_again_after_a_pause() -> None:
    clock = Clock()
    pace = CommitPace(monotonic=clock)
    while commit(pace, clock) == COMMIT_PERIOD_S:
        pass
    clock.now += BURST / RATE_HZ
    assert [commit(pace, clock) for _ in range(BURST)] == [COMMIT_PERIOD_S] * BURST


def test_with_a_watcher_and_while_more_is_there_none_waits_longer() -> None:
    clock, watched = Clock(), False
    pace = CommitPace(lambda: watched, monotonic=clock)
    for _ in range(4 * BURST):
        commit(pace, clock)
    assert commit(pace, clock, more=True) == COMMIT_PERIOD_S
    watched = True
    assert commit(pace, clock) == COMMIT_PERIOD_S


def test_one_that_took_longer_is_followed_at_once() -> None:
    clock = Clock()
    pace = CommitPace(monotonic=clock)
    clock.now += 3.0
    assert pace.rest_s(clock.now - 2.0, more=False) == 0.0
