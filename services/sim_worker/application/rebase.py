"""Let a session go on from the state file it has just written (REBASE, determinism.md).

    stands at N ─► copy sleeps, file written ─► leaves ─► a new process loads the file ─► CheckpointCommitted{rebased}
                        │                                            │
                        └──────── the copy goes on ◄── it does not load (CheckpointFailed)

A process that was killed while it loaded is no such verdict: the next one tries.

The log names N before any interval behind it, or it never will: so whoever simulates the run again knows which way
it went.
"""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import structlog

from milepost.event.v1.event_pb2 import CheckpointFailed, StartKind
from session_log.codec import record
from sim_worker.application.choose_start import ChooseStart
from sim_worker.application.keep_artifacts import KeepArtifacts
from sim_worker.application.outcomes import Died, NotLoaded, Rebased
from sim_worker.application.session import Session, Start
from sim_worker.application.write_state import state_file_name

log = structlog.get_logger()

# How often a process may die while it loads a file before the file is to blame.
MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class Rebase:
    """From one process of an attempt to the next."""

    choose_start: ChooseStart
    keep_artifacts: KeepArtifacts

    async def __call__(self, session: Session, before: Start, outcome: Rebased) -> Start | None:
        """The start that follows; None when the copy that was left goes on. Raises SceneFailed, Fenced."""
        session.attempt.begin_again()
        made = outcome.checkpoint
        if made is None:
            session.not_rebased.add(outcome.step)
            return None
        if all(known.step != made.step for known in session.past.rebased):
            stored = await self.keep_artifacts(session.directory, prefix=f"until-{made.step}/")
            await session.attempt.append([record(kept, step=made.step, sim_time_s=made.sim_time_s) for kept in stored])
        written = session.directory / state_file_name(made)
        session.left, session.directory = session.directory, session.root / str(int(session.directory.name) + 1)
        session.died_loading = 0
        await asyncio.to_thread(_remove_others, session)
        await self.choose_start.lay_out(session)
        written.rename(session.directory / written.name)
        return Start(
            StartKind.START_KIND_STATE_FILE,
            made.step,
            checkpoint=made,
            after=before.first,
            judged=outcome.judged,
        )

    async def not_begun(self, session: Session, start: Start, outcome: NotLoaded | Died) -> Start | None:
        """The start to try again; None when the file does not load: the copy goes on where it sleeps. Raises Fenced."""
        session.attempt.begin_again()
        session.died_loading += 1
        if isinstance(outcome, Died) and session.died_loading < MAX_TRIES:
            return start
        await self._skip(session, start.step, outcome)
        return None

    async def _skip(self, session: Session, step: int, outcome: NotLoaded | Died) -> None:
        assert session.left is not None
        words = outcome.message if isinstance(outcome, NotLoaded) else outcome.failure.message
        log.warning("not rebased", session=session.attempt.session_id, step=step, reason=words)
        failed = CheckpointFailed(message=f"the state of step {step} does not load, the run goes on without: {words}")
        await session.attempt.append([record(failed, step=step)])
        session.not_rebased.add(step)
        session.directory, session.left = session.left, None


def _remove_others(session: Session) -> None:
    """Directories of earlier stretches."""
    kept: set[Path | None] = {session.directory, session.left}
    for other in session.root.iterdir():
        if other not in kept:
            shutil.rmtree(other, ignore_errors=True)
