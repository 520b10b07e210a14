"""What a session's log adds up to, as far as its life is concerned: state, owner, open commands.

A fact is what an event means for the life of a session; events that mean nothing for it (intervals, log
lines, artifacts) are `Progressed`. `fold` is total: a log is folded by everybody, also by those who
did not write it, so a fact that does not fit its state changes nothing but `seq`.
"""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import assert_never

from session_log.domain.lifecycle import CLAIMED, ENDED, State, Verb


@dataclass(frozen=True, slots=True)
class Created:
    """SessionCreated."""

    auto_start: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """AttemptClaimed."""

    attempt: int
    worker_id: str
    fruitless: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """RunOpened."""

    run: int


@dataclass(frozen=True, slots=True)
class Hidden:
    """SessionDeleted and SessionUndeleted."""

    deleted: bool


@dataclass(frozen=True, slots=True)
class Stepping:
    """RunStarted."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """SessionRecovered."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """HandedOver."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A terminal event."""

    state: State


@dataclass(frozen=True, slots=True)
class Requested:
    """CommandRequested."""

    command_id: str
    verb: Verb
    request_digest: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """CommandApplied or CommandRejected."""

    command_id: str
    applied: bool


@dataclass(frozen=True, slots=True)
class Progressed:
    """Anything else."""


Fact = Created | Claimed | Opened | Hidden | Stepping | Recovered | LetGo | Ended | Requested | Answered | Progressed


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the log knows it."""

    command_id: str
    verb: Verb
    request_digest: bytes
    open: bool = True


@dataclass(frozen=True, slots=True)
class SessionLife:
    """The fold of a log up to `seq`. `state` is None only before the first event."""

    state: State | None = None
    seq: int = 0
    run: int = 1
    attempt: int = 0
    worker_id: str = ""
    handed_over: bool = False
    deleted: bool = False
    new_run: bool = True
    """Whether the next claim is the first of its run."""
    claim_seq: int = 0
    """Where the latest claim stands."""
    fruitless: int = 0
    """Attempts in a row, up to the latest claim, that died without getting any further (log.md R10)."""
    commands: MappingProxyType[str, Command] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def open_commands(self) -> tuple[Command, ...]:
        """Commands without an outcome, in the order in which they were asked for."""
        return tuple(command for command in self.commands.values() if command.open)

    @property
    def ended(self) -> bool:
        """Whether the last word was a terminal event."""
        return self.state in ENDED


def fold(life: SessionLife, seq: int, fact: Fact) -> SessionLife:
    """The life after one more event. Events at or before `life.seq` were folded already and change nothing."""
    if seq <= life.seq:
        return life
    after = replace(life, seq=seq)
    match fact:
        case Claimed():
            return _claim(after, fact)
        case Requested(command_id, verb, digest):
            commands = {**life.commands, command_id: Command(command_id, verb, digest)}
            return replace(after, state=_requested(life.state, verb), commands=MappingProxyType(commands))
        case Answered(command_id, applied):
            return _answered(after, command_id, applied=applied)
        case LetGo():
            return replace(after, handed_over=True)
        case Hidden(deleted):
            return replace(after, deleted=deleted)
        case Opened(run):
            return replace(after, state=State.PENDING, run=run, new_run=True, handed_over=False, fruitless=0)
        case Created() | Stepping() | Recovered() | Ended():
            return replace(after, state=_moved(life.state, fact))
        case Progressed():
            return after
        case _:
            assert_never(fact)


def _moved(state: State | None, fact: Created | Stepping | Recovered | Ended) -> State | None:
    match fact:
        case Created(auto_start):
            return State.PENDING if auto_start else State.CREATED
        case Stepping():
            return State.RUNNING if state is State.PREPARING else state
        case Recovered():
            return State.RUNNING if state is State.RECOVERING else state
        case Ended(end):
            return end


def _claim(life: SessionLife, claimed: Claimed) -> SessionLife:
    return replace(
        life,
        state=_claimed(life),
        attempt=claimed.attempt,
        worker_id=claimed.worker_id,
        handed_over=False,
        new_run=False,
        claim_seq=life.seq,
        fruitless=claimed.fruitless,
    )


def _claimed(life: SessionLife) -> State | None:
    """A claim carries on what was under way: SUSPENDING and TERMINATING stay."""
    if life.state in (State.SUSPENDING, State.TERMINATING):
        return life.state
    return State.PREPARING if life.new_run else State.RECOVERING


def _requested(state: State | None, verb: Verb) -> State | None:
    if state not in CLAIMED:
        return state
    match verb:
        case Verb.CANCEL | Verb.TERMINATE:
            return State.TERMINATING
        case Verb.SUSPEND:
            return State.SUSPENDING
        case _:
            return state


def _answered(life: SessionLife, command_id: str, *, applied: bool) -> SessionLife:
    command = life.commands.get(command_id)
    if command is None:
        return life
    commands = MappingProxyType({**life.commands, command_id: replace(command, open=False)})
    state = _applied(life.state, command.verb) if applied else _rejected(life.state, command.verb)
    return replace(life, state=state, commands=commands)


def _applied(state: State | None, verb: Verb) -> State | None:
    match verb, state:
        case Verb.START, State.CREATED:
            return State.PENDING
        case Verb.RESUME, State.SUSPENDED:
            return State.PENDING
        case Verb.SUSPEND, _ if state not in ENDED:
            return State.SUSPENDED
        case _:
            return state


def _rejected(state: State | None, verb: Verb) -> State | None:
    """A suspension that could not be made leaves the session running."""
    return State.RUNNING if verb is Verb.SUSPEND and state is State.SUSPENDING else state
