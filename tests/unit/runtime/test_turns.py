"""Whose turn it is: tenants by what they run, classes by weight, priorities strictly; nobody waits for ever."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.turns import WEIGHTS, Standing, Turns

STANDARD = "standard"


def first(turns: Turns, *standings: Standing) -> Standing:
    """The next turn, taken."""
    chosen = turns.in_order(standings)[0]
    turns.took(chosen)
    return chosen


def test_the_tenant_that_runs_less_is_next_however_much_the_other_sends() -> None:
    flood = [Standing("a", name, waiting=1000, running=1) for name in ("interactive_high", "interactive", STANDARD)]
    assert first(Turns(), *flood, Standing("b", "batch_low", waiting=1, running=2)).tenant == "b"


def test_with_a_single_slot_tenants_take_turns() -> None:
    turns = Turns()
    waiting = [Standing(tenant, STANDARD, waiting=9, running=0) for tenant in ("a", "b", "c")]
    served = [first(turns, *waiting).tenant for _ in range(9)]
    assert Counter(served) == {"a": 3, "b": 3, "c": 3}
    assert served[:3] == served[3:6] == served[6:]


def test_with_a_single_slot_classes_share_by_weight_and_none_waits_for_ever() -> None:
    turns = Turns()
    waiting = [Standing("a", name, waiting=99, running=0) for name in WEIGHTS]
    rounds = 3
    served = Counter(first(turns, *waiting).group for _ in range(rounds * sum(WEIGHTS.values())))
    assert served == {name: rounds * weight for name, weight in WEIGHTS.items()}


def test_with_many_slots_what_runs_is_in_proportion_to_the_weights() -> None:
    turns, running = Turns(), dict.fromkeys(WEIGHTS, 0)
    for _ in range(26):
        chosen = first(turns, *(Standing("a", name, waiting=99, running=now) for name, now in running.items()))
        running[chosen.group] += 1
    assert running == {name: 2 * weight for name, weight in WEIGHTS.items()}


def test_a_class_that_slept_is_not_owed_what_it_did_not_want() -> None:
    turns = Turns()
    standard, batch = (Standing("a", name, waiting=99, running=0) for name in (STANDARD, "batch"))
    for _ in range(40):
        first(turns, standard)
    served = Counter(first(turns, standard, batch).group for _ in range(10))
    assert served == {STANDARD: 8, "batch": 2}


def test_priorities_are_strict_within_a_class_and_count_for_nothing_between_classes() -> None:
    turns = Turns()
    line = [Standing("a", name, waiting=9, running=0) for name in ("batch_high", "standard_low", STANDARD)]
    assert first(turns, *line).work_class == STANDARD
    urgent = Standing("a", "standard_high", waiting=9, running=0)
    order = [one.work_class for one in turns.in_order([*line, urgent]) if one.group == STANDARD]
    assert order == ["standard_high", STANDARD, "standard_low"]


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(sorted(WEIGHTS))), st.integers(1, 50), min_size=1
    )
)
def test_every_line_is_served_within_a_bounded_number_of_turns(lines: dict[tuple[str, str], int]) -> None:
    turns = Turns()
    standings = [Standing(tenant, name, waiting=1000, running=0) for (tenant, name) in lines]
    bound = len({tenant for tenant, _ in lines}) * (sum(WEIGHTS.values()) + 1)
    assert {first(turns, *standings) for _ in range(bound)} == set(standings)
