"""The one table of states and verbs, and the fold."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.session.v1.session_pb2 import SessionState
from session_log.domain.fold import (
    Answered,
    Claimed,
    Created,
    Ended,
    Fact,
    Hidden,
    LetGo,
    Opened,
    Progressed,
    Recovered,
    Requested,
    SessionLife,
    Stepping,
    fold,
)
from session_log.domain.lifecycle import (
    CLAIMED,
    ENDED,
    LEGAL,
    UNCLAIMED,
    IllegalVerb,
    State,
    Verb,
    legal_verbs,
    require_legal,
)

# The contract's sentences, written down once more and independently of the table.
REFUSED = {
    State.CREATED: {Verb.SUSPEND, Verb.RESUME, Verb.RESTART, Verb.ROLLBACK, Verb.CHECKPOINT, Verb.INTERVENE, Verb.PACE}
    | {Verb.FORK, Verb.UNDELETE},
    State.PENDING: {
        Verb.UNDELETE,
        Verb.START,
        Verb.RESUME,
        Verb.RESTART,
        Verb.ROLLBACK,
        Verb.FORK,
        Verb.UPDATE_TASK,
        Verb.DELETE,
    },
    State.PREPARING: {
        Verb.UNDELETE,
        Verb.START,
        Verb.RESUME,
        Verb.RESTART,
        Verb.ROLLBACK,
        Verb.UPDATE_TASK,
        Verb.DELETE,
    },
    State.RUNNING: {Verb.UNDELETE, Verb.START, Verb.RESUME, Verb.RESTART, Verb.UPDATE_TASK, Verb.DELETE},
    State.RECOVERING: {
        Verb.UNDELETE,
        Verb.START,
        Verb.RESUME,
        Verb.RESTART,
        Verb.ROLLBACK,
        Verb.UPDATE_TASK,
        Verb.DELETE,
    },
    State.SUSPENDING: set(Verb) - {Verb.CANCEL, Verb.TERMINATE, Verb.FORK, Verb.UPDATE, Verb.PIN},
    State.SUSPENDED: {
        Verb.UNDELETE,
        Verb.START,
        Verb.SUSPEND,
        Verb.RESTART,
        Verb.CHECKPOINT,
        Verb.INTERVENE,
        Verb.PACE,
    },
    State.TERMINATING: set(Verb) - {Verb.CANCEL, Verb.FORK, Verb.UPDATE, Verb.PIN},
    **{
        ended: {
            Verb.UNDELETE,
            Verb.START,
            Verb.SUSPEND,
            Verb.CANCEL,
            Verb.TERMINATE,
            Verb.CHECKPOINT,
            Verb.INTERVENE,
            Verb.PACE,
        }
        for ended in ENDED
    },
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", Verb)
def test_every_state_allows_or_refuses_every_verb_as_the_contract_says(state: State, verb: Verb) -> None:
    if verb in REFUSED[state]:
        with pytest.raises(IllegalVerb) as refused:
            require_legal(state, verb)
        assert (refused.value.state, refused.value.verb) == (state, verb)
        assert verb not in legal_verbs(state)
    else:
        require_legal(state, verb)
        assert verb in legal_verbs(state)


@pytest.mark.parametrize("state", State)
def test_a_deleted_session_can_be_undeleted_and_nothing_else(state: State) -> None:
    assert legal_verbs(state, deleted=True) == (Verb.UNDELETE,)
    with pytest.raises(IllegalVerb, match="deleted"):
        require_legal(state, Verb.RESUME, deleted=True)


def test_the_table_knows_every_verb_and_the_states_are_those_of_the_contract() -> None:
    assert set(LEGAL) == set(Verb)
    assert {f"SESSION_STATE_{state.name}": state.value for state in State} == {
        name: number for name, number in SessionState.items() if number
    }
    assert set(State) == CLAIMED | UNCLAIMED | ENDED


def after(*facts: Fact) -> SessionLife:
    life = SessionLife()
    for seq, fact in enumerate(facts, start=1):
        life = fold(life, seq, fact)
    return life


def test_a_session_goes_its_way_from_creation_to_its_end() -> None:
    way = [Created(auto_start=True), Claimed(1, "w"), Stepping(), Progressed(), Ended(State.COMPLETED)]
    assert [after(*way[: n + 1]).state for n in range(len(way))] == [
        State.PENDING,
        State.PREPARING,
        State.RUNNING,
        State.RUNNING,
        State.COMPLETED,
    ]


def test_a_second_claim_recovers_and_runs_only_when_recovered() -> None:
    lost = [Created(auto_start=True), Claimed(1, "w"), Stepping(), Claimed(2, "v")]
    assert after(*lost).state is State.RECOVERING
    assert after(*lost, Stepping()).state is State.RECOVERING
    recovered = after(*lost, Stepping(), Recovered())
    assert (recovered.state, recovered.worker_id, recovered.attempt) == (State.RUNNING, "v", 2)


def test_a_cancel_is_open_until_answered_and_survives_a_new_claim() -> None:
    running = [Created(auto_start=True), Claimed(1, "w"), Stepping()]
    asked = [*running, Requested("c", Verb.CANCEL, b"d")]
    assert after(*asked).state is State.TERMINATING
    assert after(*asked, Claimed(2, "v")).state is State.TERMINATING
    assert [command.command_id for command in after(*asked).open_commands] == ["c"]
    ended = after(*asked, Answered("c", applied=True), Ended(State.CANCELLED))
    assert ended.open_commands == ()
    assert ended.ended


def test_handing_over_is_forgotten_with_the_next_claim() -> None:
    let_go = [Created(auto_start=True), Claimed(1, "w"), LetGo()]
    assert after(*let_go).handed_over
    assert not after(*let_go, Claimed(2, "v")).handed_over


def test_only_an_applied_start_leaves_created() -> None:
    asked = [Created(auto_start=False), Requested("s", Verb.START, b"d")]
    assert after(*asked).state is State.CREATED
    assert after(*asked, Answered("s", applied=False)).state is State.CREATED
    assert after(*asked, Answered("s", applied=True)).state is State.PENDING


FACTS = st.one_of(
    st.builds(Created, auto_start=st.booleans()),
    st.builds(Claimed, attempt=st.integers(1, 5), worker_id=st.sampled_from(["v", "w"])),
    st.builds(Ended, state=st.sampled_from(sorted(ENDED, key=lambda state: state.value))),
    st.builds(
        Requested,
        command_id=st.sampled_from(["a", "b"]),
        verb=st.sampled_from(Verb),
        request_digest=st.just(b""),
    ),
    st.builds(Answered, command_id=st.sampled_from(["a", "b"]), applied=st.booleans()),
    st.builds(Opened, run=st.integers(2, 5)),
    st.builds(Hidden, deleted=st.booleans()),
    st.sampled_from([Stepping(), Recovered(), LetGo(), Progressed()]),
)


@given(st.lists(FACTS, max_size=30))
def test_any_log_folds_and_folding_an_event_twice_changes_nothing(facts: list[Fact]) -> None:
    life = SessionLife()
    for seq, fact in enumerate(facts, start=1):
        life = fold(life, seq, fact)
        assert fold(life, seq, fact) == life
    assert life.seq == len(facts)


def test_the_property_above_meets_every_kind_of_fact() -> None:
    assert {kind.__name__ for kind in get_args(Fact)} == {
        "Created",
        "Claimed",
        "Opened",
        "Hidden",
        "Stepping",
        "Recovered",
        "LetGo",
        "Ended",
        "Requested",
        "Answered",
        "Progressed",
    }


RUNNING = (Created(auto_start=True), Claimed(1, "w"), Stepping())


def test_a_suspension_frees_the_session_and_a_resumption_queues_it_again_in_the_same_run() -> None:
    asked = [*RUNNING, Requested("s", Verb.SUSPEND, b"")]
    assert after(*asked).state is State.SUSPENDING
    assert after(*asked, Claimed(2, "other")).state is State.SUSPENDING
    assert after(*asked, Answered("s", applied=False)).state is State.RUNNING
    suspended = [*asked, Answered("s", applied=True)]
    assert after(*suspended).state is State.SUSPENDED
    resumed = [*suspended, Requested("r", Verb.RESUME, b""), Answered("r", applied=True)]
    assert after(*resumed).state is State.PENDING
    claimed = after(*resumed, Claimed(2, "other"))
    assert (claimed.state, claimed.run) == (State.RECOVERING, 1)


def test_a_new_run_begins_pending_and_its_first_claim_prepares() -> None:
    ended = [*RUNNING, Ended(State.COMPLETED)]
    opened = after(*ended, Opened(2))
    assert (opened.state, opened.run, opened.new_run) == (State.PENDING, 2, True)
    first = after(*ended, Opened(2), Claimed(2, "w"))
    assert first.state is State.PREPARING
    assert after(*ended, Opened(2), Claimed(2, "w"), Claimed(3, "x")).state is State.RECOVERING


def test_a_session_suspended_before_any_claim_waits_for_its_resumption() -> None:
    life = after(Created(auto_start=True), Requested("s", Verb.SUSPEND, b""), Answered("s", applied=True))
    assert life.state is State.SUSPENDED
    assert not life.open_commands


def test_fruitless_attempts_are_counted_by_the_claims_and_forgotten_by_a_new_run() -> None:
    life = after(*RUNNING, Claimed(2, "w", fruitless=1), Claimed(3, "w", fruitless=2))
    assert (life.fruitless, life.claim_seq) == (2, 5)
    assert after(*RUNNING, Claimed(2, "w", fruitless=2), Ended(State.FAILED), Opened(2)).fruitless == 0


def test_deleting_and_undeleting_hide_and_show() -> None:
    assert after(*RUNNING, Ended(State.COMPLETED), Hidden(deleted=True)).deleted
    assert not after(*RUNNING, Ended(State.COMPLETED), Hidden(deleted=True), Hidden(deleted=False)).deleted
