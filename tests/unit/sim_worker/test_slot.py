"""A slot is free when the session's process is gone, as far as that goes."""

import asyncio

from sim_worker.application.slot import Slot


def free_of(semaphore: asyncio.Semaphore) -> int:
    """How many slots are free."""
    taken = 0
    while not semaphore.locked():
        asyncio.run(semaphore.acquire())
        taken += 1
    for _ in range(taken):
        semaphore.release()
    return taken


def test_a_slot_is_given_up_once_and_as_many_sessions_may_be_ending_as_there_are_slots() -> None:
    free, ending = asyncio.Semaphore(0), set[Slot]()
    first, second, third, fourth = (Slot(free, ending, 2) for _ in range(4))
    first.over()
    first.over()
    assert free_of(free) == 1
    second.over()
    assert free_of(free) == 2
    # Two are ending: the third keeps its slot until it is done.
    third.over()
    assert free_of(free) == 2
    third.left(None)
    assert free_of(free) == 3
    # Who gave it up has none to give back.
    first.left(None)
    assert free_of(free) == 3
    fourth.over()
    assert free_of(free) == 4
    for ends in (second, fourth):
        ends.left(None)
    assert free_of(free) == 4
    assert not ending


def test_who_never_had_a_process_gives_it_back_at_the_end() -> None:
    free = asyncio.Semaphore(0)
    Slot(free, set(), 1).left(None)
    assert free_of(free) == 1
