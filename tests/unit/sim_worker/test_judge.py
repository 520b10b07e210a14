"""The log is the judge (determinism.md)."""

import pytest

from sim_worker.domain.judge import Diverged, Judge, Simulated


def interval(step: int, payload: bytes = b"kpis") -> Simulated:
    return Simulated(kind=20, step=step, sim_time_s=float(step), payload=payload)


def test_what_is_recorded_is_known_and_what_follows_is_new() -> None:
    judge = Judge.of([interval(10), interval(20)])
    assert judge.deliberating
    assert judge.is_known(interval(10))
    assert judge.is_known(interval(20))
    assert not judge.deliberating
    assert not judge.is_known(interval(30))


@pytest.mark.parametrize(
    "computed",
    [
        interval(20, b"other"),
        interval(21),
        Simulated(kind=21, step=20, sim_time_s=20.0, payload=b"kpis"),
        Simulated(kind=20, step=20, sim_time_s=20.000001, payload=b"kpis"),
    ],
)
def test_any_difference_is_named_with_its_step(computed: Simulated) -> None:
    judge = Judge.of([interval(10), interval(20)])
    judge.is_known(interval(10))
    with pytest.raises(Diverged) as diverged:
        judge.is_known(computed)
    assert (diverged.value.step, diverged.value.equal_records) == (computed.step, 1)
