"""The judge of the logs: it passes what is right, and catches whatever is done to it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.model import check, check_undisturbed
from resilience.observed import Entry, History, Operation, Outcome, Watch

STEPS = 10
# Where every run ends: equal inputs, equal ends.
END = 120


class Writer:
    """Writes a log as a session would, numbering by itself."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.run, self.attempt, self.step, self.open = 1, 0, 0, ""

    def write(self, kind: str, *, step: int | None = None, **fields: object) -> None:
        simulated = kind in {"scene_prepared", "interval_closed", "session_completed"}
        at = self.step if step is None else step
        payload = f"{kind} {at} {fields.get('command_id', '')}".encode()
        base = Entry(len(self.log) + 1, self.run, self.attempt, at, kind, payload=payload, simulated=simulated)
        self.log.append(replace(base, **fields))

    def claim(self) -> None:
        self.attempt += 1
        self.write("attempt_claimed", step=0, claims=self.attempt)

    def intervals(self, count: int) -> None:
        for _ in range(min(count, (END - self.step) // STEPS)):
            self.step += STEPS
            self.write("interval_closed")

    def command(self, verb: str, *, at: int | None = None) -> None:
        name = f"c{len(self.log)}"
        self.write("command_requested", step=0, command_id=name, verb=verb)
        if at is not None:
            self.write("command_applied", step=at, command_id=name)

    def reopen(self, step: int) -> None:
        """A run that goes on from a step of this one."""
        self.run += 1
        self.step = step - step % STEPS
        self.write("run_opened", step=0, opens=self.run, base_run=self.run - 1, base_step=step)


@st.composite
def logs(draw: st.DrawFn) -> tuple[Entry, ...]:
    """Logs that may be: several attempts, runs and commands."""
    writer = Writer()
    writer.write("session_created", command_id="wish")
    runs = draw(st.integers(1, 3))
    for run in range(1, runs + 1):
        if run > 1:
            writer.command("rollback", at=0)
            writer.reopen(draw(st.integers(0, writer.step)))
        for attempt in range(1, draw(st.integers(1, 3)) + 1):
            writer.claim()
            if run == 1 and attempt == 1:
                writer.write("scene_prepared")
            writer.write("run_started")
            writer.intervals(draw(st.integers(1, 4)))
            if draw(st.booleans()):
                writer.command(draw(st.sampled_from(["intervene", "set_pace", "checkpoint"])), at=writer.step)
                writer.intervals(draw(st.integers(1, 3)))
            if draw(st.booleans()):
                writer.write("handed_over")
        if writer.log[-1].kind == "handed_over":
            writer.claim()
        writer.intervals(END)
        writer.write("session_completed")
    return tuple(writer.log)


def history(log: Sequence[Entry], watches: Sequence[Watch] = ()) -> History:
    created = Operation("s", "wish", "create", 0.0, 1.0, Outcome.ACKNOWLEDGED)
    asked = [
        Operation("s", entry.command_id, entry.verb, 1.0 + entry.seq, 1.5 + entry.seq, Outcome.ACKNOWLEDGED)
        for entry in log
        if entry.kind == "command_requested"
    ]
    return History({"s": log}, [created, *asked], watches, STEPS)


def renumbered(log: Sequence[Entry]) -> tuple[Entry, ...]:
    """As a thief would do it who knows that numbers are looked at."""
    return tuple(replace(entry, seq=seq) for seq, entry in enumerate(log, start=1))


@given(logs())
def test_a_log_as_it_should_be_is_passed(log: tuple[Entry, ...]) -> None:
    seen = Watch("s", 0, log, log[-1].seq)
    later = Watch("s", len(log) // 2, log[len(log) // 2 : -1])
    assert check(history(log, [seen, later])) == []
    calm = [replace(entry, attempt=7, written_ns=1) for entry in log if entry.run == 1]
    assert check_undisturbed("s", log, calm) == []


@given(logs(), st.data())
def test_an_event_that_is_missing_is_noticed(log: tuple[Entry, ...], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(log) - 1))
    left = (*log[:gone], *log[gone + 1 :])
    # The last one leaves no gap, but an end; nothing at all is no log.
    assert check(history(left))
    # A thief who renumbers is still betrayed by those who watched.
    assert check(history(renumbered(left), [Watch("s", 0, log, log[-1].seq)]))


@given(logs(), st.data())
def test_a_simulated_event_or_a_claim_that_is_missing_is_noticed_though_renumbered(
    log: tuple[Entry, ...], data: st.DataObject
) -> None:
    # A run may lack its end where the next one was opened: it was left then.
    inner = [at for at, entry in enumerate(log[:-1]) if entry.kind != "session_completed"]
    telling = [at for at in inner if log[at].simulated or log[at].claims or log[at].opens]
    gone = data.draw(st.sampled_from(telling))
    assert check(history(renumbered((*log[:gone], *log[gone + 1 :]))))


@given(logs(), st.data())
def test_an_event_that_stands_twice_is_noticed(log: tuple[Entry, ...], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(log) - 1))
    twice = (*log[: at + 1], *log[at:])
    assert check(history(twice))
    if log[at].simulated or log[at].claims or log[at].command_id:
        assert check(history(renumbered(twice)))


@given(logs(), st.data())
def test_two_events_that_changed_places_are_noticed(log: tuple[Entry, ...], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(log) - 2))
    swapped = (*log[:at], log[at + 1], log[at], *log[at + 2 :])
    assert check(history(swapped))
    assert check(history(renumbered(swapped), [Watch("s", 0, log)]))


@given(logs(), st.data(), st.integers(-3, 3).filter(bool))
def test_an_event_of_another_attempt_is_noticed(log: tuple[Entry, ...], data: st.DataObject, off: int) -> None:
    at = data.draw(st.integers(0, len(log) - 1))
    foreign = replace(log[at], attempt=log[at].attempt + off)
    assert check(history((*log[:at], foreign, *log[at + 1 :])))


@given(logs(), st.data())
def test_what_a_zombie_writes_after_the_next_claim_is_noticed(log: tuple[Entry, ...], data: st.DataObject) -> None:
    claims = [at for at, entry in enumerate(log) if entry.claims > 1]
    if not claims:
        return
    at = data.draw(st.sampled_from(claims))
    zombie = replace(log[at], kind="log_line", attempt=log[at].attempt - 1, claims=0)
    assert check(history(renumbered((*log[: at + 1], zombie, *log[at + 1 :]))))


@given(logs(), st.data())
def test_a_simulated_event_with_other_bytes_is_noticed(log: tuple[Entry, ...], data: st.DataObject) -> None:
    run = max(entry.run for entry in log)
    at = data.draw(st.sampled_from([at for at, entry in enumerate(log) if entry.simulated and entry.run == run]))
    other = replace(log[at], payload=log[at].payload + b"!")
    assert check_undisturbed("s", (*log[:at], other, *log[at + 1 :]), log)


@given(logs(), st.data())
def test_a_watcher_who_saw_something_else_is_noticed(log: tuple[Entry, ...], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(log) - 1))
    seen = list(log[begin:])
    at = data.draw(st.integers(0, len(seen) - 1))
    match data.draw(st.sampled_from(["twice", "other", "more"])):
        case "twice":
            seen.insert(at, seen[at])
        case "other":
            seen[at] = replace(seen[at], written_ns=1)
        case "more":
            seen.append(replace(seen[-1], seq=len(log) + 1))
    assert check(history(log, [Watch("s", begin, seen)]))


@given(logs())
def test_a_log_without_its_end_is_noticed(log: tuple[Entry, ...]) -> None:
    assert check(history(log[:-1]))


def a_log(*, applied_at: int) -> tuple[Entry, ...]:
    writer = Writer()
    writer.write("session_created", command_id="wish")
    writer.claim()
    writer.write("scene_prepared")
    writer.intervals(3)
    writer.command("intervene", at=applied_at)
    writer.intervals(END)
    writer.write("session_completed")
    return tuple(writer.log)


def test_a_command_that_is_applied_after_an_interval_it_reaches_is_noticed() -> None:
    assert check(history(a_log(applied_at=30))) == []
    assert [found.rule for found in check(history(a_log(applied_at=29)))] == ["order"]


def test_a_command_that_an_end_leaves_open_is_noticed() -> None:
    log = tuple(entry for entry in a_log(applied_at=30) if entry.kind != "command_applied")
    assert "answers" in {found.rule for found in check(history(renumbered(log)))}


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.BROKEN])
def test_a_wish_that_was_refused_and_is_in_the_log_is_noticed(outcome: Outcome) -> None:
    refused = Operation("s", "wish", "create", 0.0, 1.0, outcome)
    assert check(replace(history(a_log(applied_at=30)), operations=[refused]))


@pytest.mark.parametrize(("deaths", "fair"), [(2, False), (3, True)])
def test_a_session_is_given_up_after_three_attempts_that_got_nowhere_and_not_before(*, deaths: int, fair: bool) -> None:
    writer = Writer()
    writer.write("session_created", command_id="wish")
    for _ in range(deaths):
        writer.claim()
    writer.write("session_failed", reason="POISONED")
    assert (check(history(writer.log)) == []) is fair


def test_a_wish_that_was_acknowledged_and_is_nowhere_is_noticed() -> None:
    lost = Operation("s", "nobody's", "cancel", 0.0, 1.0, Outcome.ACKNOWLEDGED)
    assert check(replace(history(a_log(applied_at=30)), operations=[lost]))
    unclear = replace(lost, outcome=Outcome.UNKNOWN)
    assert check(replace(history(a_log(applied_at=30)), operations=[unclear])) == []


def test_a_command_that_stands_before_one_that_was_acknowledged_before_it_is_noticed() -> None:
    late = Operation("s", "wish", "create", 9.0, 9.5, Outcome.ACKNOWLEDGED)
    log = a_log(applied_at=30)
    asked = next(entry for entry in log if entry.verb)
    early = Operation("s", asked.command_id, "intervene", 1.0, 2.0, Outcome.ACKNOWLEDGED)
    assert check(replace(history(log), operations=[early, late]))
