"""Say in a session's log that it was forked. Forks at the same time are told in one append: alone they would race.

fork ─┐
fork ─┼─► wait for the append that is under way ─► the first tells of all that wait ─► one read, one batch
fork ─┘
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import CommandRequested, ForkCommand, SessionForked
from milepost.session.v1.session_pb2 import ForkOrigin
from runtime.errors import CallRefused
from session_api.application.append_command import (
    MAX_TRIES,
    AppendCommand,
    Caller,
    done,
    name_command,
    require_legal_now,
)
from session_log.codec import record
from session_log.writer import LostRace

Key = tuple[str, str]

# Forks told of in one append: each takes three small records.
_AT_ONCE = 200


@dataclass(eq=False, slots=True)
class _Fork:
    command: CommandRequested
    forked: SessionForked
    told: bool = False
    refused: CallRefused | None = None


@dataclass(slots=True)
class _Parent:
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[_Fork] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TellParent:
    """Appends SessionForked with the command that it answers."""

    append: AppendCommand
    _parents: dict[Key, _Parent] = field(default_factory=lambda: defaultdict(_Parent))

    async def __call__(self, caller: Caller, parent_id: str, child_id: str, origin: ForkOrigin) -> None:
        """Returns when it stands in the parent's log. Raises as AppendCommand."""
        fork = _Fork(
            CommandRequested(fork=ForkCommand(session_id=child_id, step=origin.step)),
            SessionForked(session_id=child_id, step=origin.step, sim_time_s=origin.sim_time_s),
        )
        name_command(fork.command, caller)
        key = (caller.tenant, parent_id)
        parent = self._parents[key]
        parent.waiting.append(fork)
        try:
            async with parent.telling:
                if not fork.told and fork.refused is None:
                    # With those that came after it; those before it have been told of.
                    first = parent.waiting.index(fork)
                    await self._tell(key, parent.waiting[first : first + _AT_ONCE])
        finally:
            if fork in parent.waiting:
                parent.waiting.remove(fork)
            if not parent.waiting and not parent.telling.locked():
                self._parents.pop(key, None)
        if fork.refused is not None:
            raise fork.refused

    async def _tell(self, key: Key, waiting: list[_Fork]) -> None:
        for _ in range(MAX_TRIES):
            log = await self.append.read(*key)
            new = []
            for fork in waiting:
                try:
                    fork.told = self.append.asked_before(log, fork.command)
                except CallRefused as refused:
                    fork.refused = refused
                else:
                    new += [] if fork.told else [fork]
            if not new:
                return
            require_legal_now(log, new[0].command)
            records = [one for fork in new for one in (record(fork.command), *done(fork.command, fork.forked).records)]
            try:
                await self.append.write(*key, log, records)
            except LostRace:
                continue
            for fork in new:
                fork.told = True
            return
        raise CallRefused(
            errors_pb2.ERROR_REASON_CONTENDED, f"session {key[1]!r} is written to too fast", retry_after_s=0.5
        )
