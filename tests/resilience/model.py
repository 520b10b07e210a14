"""What the log of a session may look like, whatever was killed while it was written. Pure.

    session_created ─► claim 1 ─► … ─► claim 2 ─► … ─► end ─► (run_opened ─► claim 3 ─► …)
                       └ written by attempt 1 alone ┘

`check` judges a whole history: the logs as they are stored in the end, what clients asked for and were told, and what
watchers saw on the way. `check_undisturbed` judges one log by another that nothing happened to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from resilience.observed import Entry, History, Operation, Outcome, Violation

ENDS = frozenset({"session_completed", "session_failed", "session_cancelled"})
ANSWERS = frozenset({"command_applied", "command_rejected"})
# Only the owner of a session writes these.
OWNERS_KINDS = frozenset(
    {
        *("attempt_claimed", "scene_prepared", "run_started", "interval_closed", "session_completed"),
        *("log_line", "artifact_stored", "recovery_judged", "session_recovered", "handed_over", "start_rejected"),
        *("exactness_broken", "paused", "milestone_reached", "phase_started", "phase_ended", "checkpoint_started"),
        *("checkpoint_committed", "checkpoint_failed", "resource_used"),
    }
)
# Commands whose effect reaches the intervals after the step at which they were applied (log.md R18).
STEERING = frozenset({"intervene", "set_pace", "step", "run_until"})
# Attempts that may die in a row before a session is given up.
_FRUITLESS = 3


def check(history: History) -> list[Violation]:
    """Everything that is wrong; empty when nothing is."""
    found = [
        Violation(rule, session_id, words, seq)
        for session_id, log in history.logs.items()
        for rule, seq, words in _log_rules(log, history.interval_steps)
    ]
    return [*found, *check_watches(history), *_operation_rules(history)]


def check_watches(history: History) -> list[Violation]:
    """What is wrong with what watchers saw alone."""
    return list(_watch_rules(history))


def check_undisturbed(
    session_id: str, log: Sequence[Entry], calm: Sequence[Entry], *, interval_steps: int = 10
) -> list[Violation]:
    """Judge the simulated part of every run of a log by a run of equal inputs that nothing happened to.

    A run that completed must be the same to its last byte; one that was ended before may be shorter.
    """
    runs = range(1, 1 + max([1, *(entry.opens for entry in log)]))
    if log and log[0].base_run:
        # A fork: what came before stands in its parent's log.
        calm = [entry for entry in calm if entry.step > log[0].base_step]
    return [
        Violation("exact", session_id, f"run {run}: {words}", seq)
        for run in runs
        for seq, words in _differences(
            _not_terminated(simulated(log, interval_steps, run), log), simulated(calm, interval_steps)
        )
    ]


def _differences(mine: Sequence[Entry], calm: Sequence[Entry]) -> Iterator[tuple[int, str]]:
    for own, other in zip(mine, calm, strict=False):
        if (own.kind, own.step, own.sim_time_s, own.payload) != (
            other.kind,
            other.step,
            other.sim_time_s,
            other.payload,
        ):
            yield own.seq, f"{own.kind} at step {own.step} is not the {other.kind} at step {other.step}"
            return
    completed = any(entry.kind == "session_completed" for entry in mine)
    if len(mine) > len(calm) or (completed and len(mine) < len(calm)):
        yield mine[-1].seq, f"{len(mine)} simulated events, {len(calm)} undisturbed"


def _not_terminated(run: list[Entry], log: Sequence[Entry]) -> list[Entry]:
    """A run without the end that TerminateSession gave it: its last interval may be short, its results are partial."""
    asked = {entry.command_id for entry in log if entry.kind == "command_requested" and entry.verb == "terminate"}
    if run and run[-1].kind == "session_completed":
        end = run[-1].seq
        if any(entry.kind == "command_applied" and entry.command_id in asked and entry.seq < end for entry in log):
            return run[:-2]
    return run


def simulated(log: Sequence[Entry], interval_steps: int, run: int = 1) -> list[Entry]:
    """The simulated events of a run's whole past, in order.

    The end of a run, and an interval cut short by it, are no part of a run that goes on from there.
    """
    opened = {entry.opens: entry for entry in log if entry.kind == "run_opened"}
    own = [entry for entry in log if entry.simulated and entry.run == run]
    if run not in opened or not opened[run].base_run:
        return own
    inherited = [
        entry
        for entry in simulated(log, interval_steps, opened[run].base_run)
        if entry.step <= opened[run].base_step and entry.kind not in ENDS
    ]
    return [one for one in inherited if one.kind != "interval_closed" or one.step % interval_steps == 0] + own


@dataclass(slots=True)
class _Life:
    """What the walk over a log has seen so far."""

    interval_steps: int
    attempt: int = 0
    run: int = 1
    owned: bool = False
    gained: bool = False
    """Whether the attempt has closed an interval, or stands where it was told to."""
    standing: bool = False
    fruitless: int = 0
    """Attempts in a row that died before they had."""
    ended: bool = False
    terminated: bool = False
    """Whether the event before applied a TerminateSession."""
    step: int = 0
    """Where the run's last interval ends."""
    short: bool = False
    """Whether that interval was shorter than the others: then it is the last."""
    prepared: bool = False
    reached: dict[int, int] = field(default_factory=dict)
    """The last interval of every run."""
    commands: dict[str, str] = field(default_factory=dict)
    open_commands: dict[str, int] = field(default_factory=dict)


def _log_rules(log: Sequence[Entry], interval_steps: int) -> Iterator[tuple[str, int, str]]:
    life = _Life(interval_steps)
    for expected, entry in enumerate(log, start=1):
        if entry.seq != expected:
            yield "numbers", entry.seq, f"{entry.seq} stands where {expected} should"
        if (entry.kind == "session_created") != (expected == 1):
            yield "creation", entry.seq, f"{entry.kind} is number {expected} of the log"
        for rule, words in (*_ownership(life, entry), *_simulation(life, entry), *_commands(life, entry)):
            yield rule, entry.seq, words
    if not life.ended:
        yield "ending", len(log), "the last event that matters is no end"
    if life.open_commands:
        yield "answers", len(log), f"never answered: {sorted(life.open_commands)}"


def _ownership(life: _Life, entry: Entry) -> Iterator[tuple[str, str]]:
    """One claim after the other; an attempt writes between its claim and the next, and nobody else does."""
    if entry.kind == "attempt_claimed":
        if entry.claims != life.attempt + 1:
            yield "claims", f"claim {entry.claims} follows claim {life.attempt}"
        if life.ended:
            yield "claims", f"claim {entry.claims} of a session that has ended"
        # One that let the session go by itself is not counted (log.md R10).
        life.fruitless += life.owned and not life.gained
        life.attempt, life.owned, life.gained = entry.claims, True, False
    elif entry.kind in OWNERS_KINDS and not life.owned and not (entry.kind == "session_completed" and life.terminated):
        yield "ownership", f"{entry.kind} while nobody owns the session"
    if entry.attempt != life.attempt:
        yield "ownership", f"{entry.kind} of attempt {entry.attempt} after claim {life.attempt}"
    if entry.kind == "run_opened":
        if entry.opens != life.run + 1:
            yield "runs", f"run {entry.opens} follows run {life.run}"
        life.run, life.ended, life.owned, life.fruitless = entry.opens, False, False, 0
    elif entry.run != life.run and not (
        # What asks for a run stands before its opening and may be written with it, in one message.
        entry.kind in {"command_requested", *ANSWERS} and abs(entry.run - life.run) == 1
    ):
        yield "runs", f"{entry.kind} of run {entry.run} in run {life.run}"
    if entry.kind in ENDS or entry.kind == "handed_over":
        if entry.kind in ENDS and life.ended:
            yield "ending", f"{entry.kind} after the end"
        life.ended, life.owned = life.ended or entry.kind in ENDS, False
    applied = life.commands.get(entry.command_id) if entry.kind == "command_applied" else None
    life.standing = (life.standing or entry.kind == "paused") and applied not in STEERING
    # One that stands where it was told to stand got as far as it may: its death says nothing about the session.
    life.gained = life.gained or (life.standing and entry.kind in {"paused", "session_recovered"})
    if applied == "suspend":
        life.owned = False
    # Where nobody owns a session the API itself ends it, right here.
    life.terminated = applied == "terminate"


def _simulation(life: _Life, entry: Entry) -> Iterator[tuple[str, str]]:
    """Within a run's past every interval stands once, in order, and none is missing."""
    match entry.kind:
        case "run_opened":
            life.reached[life.run - 1] = life.step
            # An interval that a run was ended in is no part of one that goes on.
            base = min(entry.base_step, life.reached.get(entry.base_run, 0)) if entry.base_run else 0
            life.step, life.short = base - base % life.interval_steps, False
            life.prepared = life.prepared and entry.base_run > 0
        case "session_created" if entry.base_run:
            # A fork: what it continues stands in its parent's log.
            life.step, life.prepared = entry.base_step - entry.base_step % life.interval_steps, True
        case "scene_prepared":
            if life.prepared:
                yield "simulation", "the scene is prepared twice in one run"
            life.prepared = True
        case "interval_closed":
            if not life.prepared:
                yield "simulation", "an interval before the scene"
            length = entry.step - life.step
            if length <= 0:
                yield "simulation", f"interval up to {entry.step} after the one up to {life.step}"
            elif length > life.interval_steps or life.short:
                yield "simulation", f"no interval between {life.step} and {entry.step}"
            life.step, life.short = entry.step, length != life.interval_steps
            life.gained, life.fruitless = True, 0
        case "session_completed":
            if entry.step != life.step:
                yield "simulation", f"completed at {entry.step}, the last interval ends at {life.step}"


def _commands(life: _Life, entry: Entry) -> Iterator[tuple[str, str]]:
    """A command is asked for once and answered once; it is applied before what it reaches; an end answers all."""
    if entry.kind == "command_requested":
        if entry.command_id in life.commands:
            yield "commands", f"{entry.command_id} is asked for twice"
        life.commands[entry.command_id] = entry.verb
        life.open_commands[entry.command_id] = entry.seq
    elif entry.kind in ANSWERS:
        if entry.command_id not in life.open_commands:
            yield "answers", f"{entry.kind} for {entry.command_id}, which is not open"
        life.open_commands.pop(entry.command_id, None)
        steers = entry.kind == "command_applied" and life.commands.get(entry.command_id) in STEERING
        if steers and entry.step < life.step:
            yield "order", f"applied at {entry.step} after the interval up to {life.step}"
    elif entry.kind in ENDS:
        if life.open_commands:
            yield "answers", f"{entry.kind} leaves open: {sorted(life.open_commands)}"
        if entry.kind == "session_cancelled" and life.commands.get(entry.command_id) != "cancel":
            yield "ending", f"cancelled by {entry.command_id}, which is no cancel"
        # Death is no failure: the next attempt goes on, unless three in a row got nowhere (log.md R10).
        fruitless = life.fruitless + (not life.gained)
        if entry.kind == "session_failed" and (entry.reason != "POISONED" or fruitless < _FRUITLESS):
            yield "ending", f"failed: {entry.reason} after {fruitless} attempts that got no further"


def _watch_rules(history: History) -> Iterator[Violation]:
    """A watcher sees a slice of the log: nothing else, nothing twice, nothing left out; Terminal means the end."""
    for watch in history.watches:
        log = history.logs.get(watch.session_id)
        if log is None:
            yield Violation("watching", watch.session_id, "watched, and not there any more")
            continue
        stored = log[watch.after_seq : watch.after_seq + len(watch.entries)]
        for seen, kept in zip(watch.entries, stored, strict=False):
            if seen != kept:
                words = f"after {watch.after_seq}: seen {seen.seq} {seen.kind}, stored {kept.seq} {kept.kind}"
                yield Violation("watching", watch.session_id, words, seen.seq)
                break
        if len(stored) < len(watch.entries):
            yield Violation("watching", watch.session_id, f"{len(watch.entries) - len(stored)} events seen, not stored")
        last = watch.entries[-1] if watch.entries else None
        if watch.terminal_seq and last is not None and (last.seq != watch.terminal_seq or last.kind not in ENDS):
            words = f"Terminal at {watch.terminal_seq} after {last.seq} {last.kind}"
            yield Violation("watching", watch.session_id, words, last.seq)


def _operation_rules(history: History) -> Iterator[Violation]:
    """What was acknowledged is in the log, once; what was refused is not; what came after stands after."""
    placed: dict[str, list[tuple[Operation, int]]] = {}
    for asked in history.operations:
        kind = "session_created" if asked.verb == "create" else "command_requested"
        log = history.logs.get(asked.session_id, ())
        places = [entry.seq for entry in log if entry.kind == kind and entry.command_id == asked.command_id]
        words = f"{asked.verb} {asked.command_id} was {asked.outcome} {asked.words}".strip()
        if asked.outcome is Outcome.BROKEN:
            yield Violation("operations", asked.session_id, words)
        if len(places) > 1 or (asked.outcome is Outcome.ACKNOWLEDGED) > len(places):
            yield Violation("operations", asked.session_id, f"{words}; in the log {len(places)} times")
        elif asked.outcome is Outcome.REFUSED and places:
            yield Violation("operations", asked.session_id, f"{words}, and is in the log", places[0])
        elif places and asked.outcome is Outcome.ACKNOWLEDGED:
            placed.setdefault(asked.session_id, []).append((asked, places[0]))
    for session_id, known in placed.items():
        for first, first_seq in known:
            for then, then_seq in known:
                if first.end_s < then.begin_s and first_seq > then_seq:
                    words = f"{then.verb} was asked for after {first.verb} was acknowledged, and stands before it"
                    yield Violation("operations", session_id, words, then_seq)
