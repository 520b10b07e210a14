"""The rule about being behind, tried on watchers that are good and on such that are not."""

import pytest

from resilience.punctual import Sight, silently_behind

# An event a second.
STORED = {("s", seq): float(seq) for seq in range(1, 31)}


def sight(*, late_s: float = 0.1, from_seq: int = 1, signs_s: tuple[float, ...] = (), upto_seq: int = 30) -> Sight:
    """Everything in time, and from an event on, late, as after a pause, all at once."""
    back_s = from_seq + late_s
    seen = {seq: max(seq + 0.1, back_s) if seq >= from_seq else seq + 0.1 for seq in range(1, upto_seq + 1)}
    return Sight("s", seen, list(signs_s))


def judged(found: Sight) -> list[int]:
    return [violation.seq for violation in silently_behind([found], STORED, until_s=31.0)]


@pytest.mark.parametrize(
    "good",
    [
        sight(),
        sight(from_seq=10, late_s=4.9),
        sight(from_seq=10, late_s=9.0, signs_s=(14.0,)),
        sight(from_seq=10, late_s=14.0, signs_s=(14.5, 19.0, 20.0)),
        sight(upto_seq=27),
        sight(upto_seq=20, signs_s=(25.0, 28.0)),
        Sight("another"),
    ],
)
def test_in_time_or_told_is_good(good: Sight) -> None:
    assert judged(good) == []


@pytest.mark.parametrize(
    ("bad", "seq"),
    [
        (sight(from_seq=10, late_s=5.1), 10),
        (sight(from_seq=10, late_s=9.0, signs_s=(9.9,)), 10),
        (sight(from_seq=10, late_s=9.0, signs_s=(15.5,)), 10),
        (sight(from_seq=10, late_s=14.0, signs_s=(14.5, 20.0)), 10),
        (sight(upto_seq=20), 21),
        (sight(upto_seq=20, signs_s=(22.0,)), 21),
        (Sight("s"), 1),
    ],
)
def test_late_without_a_sign_is_found(bad: Sight, seq: int) -> None:
    assert judged(bad)[:1] == [seq]
