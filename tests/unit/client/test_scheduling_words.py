"""Words for how many sessions, and where and when they are run."""

import pytest
import typer

from milepost.cli.scheduling import MAX_SESSIONS, scheduling_of, seeds_of
from milepost.session.v1.session_pb2 import Priority, Scheduling, WorkClass


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("7", [7]), ("1..4", [1, 2, 3, 4]), ("9,1..2, 9", [9, 1, 2]), ("2147483647", [2147483647])],
)
def test_seeds_are_numbers_and_ranges_each_once(text: str, seeds: list[int]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4..1", "1..", "-1", "2147483648", f"0..{MAX_SESSIONS}", "0..9999,10000"])
def test_what_names_no_seeds_or_too_many_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        seeds_of(text)


def test_classes_and_priorities_are_words() -> None:
    assert scheduling_of(pool="", work_class=None, priority=None) is None
    assert scheduling_of(pool="big", work_class="batch", priority="high") == Scheduling(
        pool="big", work_class=WorkClass.WORK_CLASS_BATCH, priority=Priority.PRIORITY_HIGH
    )
    for wrong in ({"work_class": "fast"}, {"priority": "most"}):
        with pytest.raises(typer.BadParameter):
            scheduling_of(**{"pool": "", "work_class": None, "priority": None, **wrong})
