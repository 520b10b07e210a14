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


Fact = Created | Claimed | Stepping | Recovered | LetGo | Ended | Requested | Answered | Progressed


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
        case Created(auto_start):
            return replace(after, state=State.PENDING if auto_start else State.CREATED)
        case Claimed(attempt, worker_id):
            return replace(
                after,
                state=_claimed(life.state, attempt),
                attempt=attempt,
                worker_id=worker_id,
                handed_over=False,
            )
        case Stepping():
            return replace(after, state=State.RUNNING) if life.state is State.PREPARING else after
        case Recovered():
            return replace(after, state=State.RUNNING) if life.state is State.RECOVERING else after
        case LetGo():
            return replace(after, handed_over=True)
        case Ended(state):
            return replace(after, state=state)
        case Requested(command_id, verb, digest):
            commands = {**life.commands, command_id: Command(command_id, verb, digest)}
            return replace(after, state=_requested(life.state, verb), commands=MappingProxyType(commands))
        case Answered(command_id, applied):
            return _answered(after, command_id, applied=applied)
        case Progressed():
            return after
        case _:
            assert_never(fact)


def _claimed(state: State | None, attempt: int) -> State | None:
    """A claim carries on what was under way: SUSPENDING and TERMINATING stay."""
    if state in (State.SUSPENDING, State.TERMINATING):
        return state
    return State.PREPARING if attempt == 1 else State.RECOVERING


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
    starts = applied and command.verb is Verb.START and life.state is State.CREATED
    return replace(life, state=State.PENDING if starts else life.state, commands=commands)
