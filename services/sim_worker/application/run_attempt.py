"""Run one attempt of a session: claim, prepare, simulate, write the log, end.

    claim ─► scene ─► child ─► Started ─► intervals … ─► Finished | Failed | the process is gone
      │        └────────────── records ──────────────┐
      └► AttemptLog.append ◄─ what is new ◄─ Judge ◄──┘   (recorded already: compared, not written again)

Tasks beside the child: the lease's beat, the look-out for commands, SUMO's messages. The first end wins: the
child's own, a cancel, or that this worker stops.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from milepost.event.v1.event_pb2 import (
    ClaimReason,
    CommandApplied,
    CommandRejected,
    HandedOver,
    SessionCancelled,
    SessionFailed,
)
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.session.v1.session_pb2 import Failure, FailureReason
from runtime.broker import subject
from runtime.process import cancel
from session_log.codec import event_kind, payload_of, record
from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import Verb
from session_log.reader import LogReader, LogSoFar
from sim_worker.application.attempt_log import AttemptLog, Fenced
from sim_worker.application.keep_artifacts import KeepArtifacts
from sim_worker.application.lease import Lease
from sim_worker.application.prepare_scene import PrepareScene, SceneFailed
from sim_worker.application.simulate import Ended, Simulate, Simulation
from sim_worker.domain.judge import Judge, Simulated

log = structlog.get_logger()

# How often the log is looked at for commands whose wake-up got lost, seconds.
LOOK_PERIOD_S = 2.0


@dataclass(frozen=True, slots=True)
class RunAttempt:
    """Everything an attempt needs; one instance serves all sessions of the worker."""

    broker: Client
    js: JetStreamContext
    reader: LogReader
    prepare_scene: PrepareScene
    simulate: Simulate
    keep_artifacts: KeepArtifacts
    sessions_folder: Path
    worker_id: str
    stopping: asyncio.Event

    async def __call__(
        self,
        tenant: str,
        session_id: str,
        so_far: LogSoFar,
        lease: Lease,
        *,
        because: ClaimReason.ValueType,
        claimed: Callable[[int], None],
    ) -> None:
        """Run to the end, or until fenced. Calls `claimed(attempt)` once the session is this worker's."""
        attempt = AttemptLog(self.js, tenant, session_id, so_far)
        directory = self.sessions_folder / f"{tenant}.{session_id}.{attempt.attempt}"
        try:
            await attempt.claim(self.worker_id, because)
            claimed(attempt.attempt)
            async with self._background(attempt, lease) as look_out:
                work = asyncio.create_task(self._run(attempt, so_far, directory, lease), name=f"run {session_id}")
                try:
                    # The look-out ends only by finding that the session is not ours any more.
                    await asyncio.wait({work, look_out}, return_when=asyncio.FIRST_COMPLETED)
                    await (work if work.done() else look_out)
                finally:
                    await cancel(work)
        except Fenced:
            log.info("attempt gave way", session=session_id, attempt=attempt.attempt)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _run(self, attempt: AttemptLog, so_far: LogSoFar, directory: Path, lease: Lease) -> None:
        try:
            ended = await self._simulated(attempt, so_far, directory, lease)
        except SceneFailed as error:
            ended = Ended(SessionFailed(failure=error.failure))
        except Fenced:
            raise
        except Exception as error:
            # A defect must cost its own session only, and must not be tried for ever: it ends the session.
            log.exception("attempt failed", session=attempt.session_id)
            failure = Failure(reason=FailureReason.FAILURE_REASON_INTERNAL, message=repr(error))
            ended = Ended(SessionFailed(failure=failure))
        if ended is not None:
            await self._end(attempt, ended, lease, directory)

    async def _simulated(self, attempt: AttemptLog, so_far: LogSoFar, directory: Path, lease: Lease) -> Ended | None:
        """Simulate until the first end; None when the session was handed over instead."""
        recorded = await self._recorded(attempt, so_far)
        scene = await self.prepare_scene(so_far.created, directory)
        simulation = Simulation(attempt, so_far.created, scene, Judge.of(recorded))
        running = asyncio.create_task(self.simulate(simulation), name=f"simulate {attempt.session_id}")
        stopping = asyncio.create_task(self.stopping.wait(), name="stopping")
        cancelled = asyncio.create_task(_cancel_command(attempt), name="cancel")
        try:
            await asyncio.wait({running, stopping, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            if cancelled.done():
                return Ended(SessionCancelled(command_id=cancelled.result()))
            await cancel(running)
            await attempt.append([record(HandedOver())])
            await lease.release()
            return None
        finally:
            await cancel(running, stopping, cancelled)

    async def _recorded(self, attempt: AttemptLog, so_far: LogSoFar) -> list[Simulated]:
        """What earlier attempts of this run have simulated."""
        if attempt.attempt == 1:
            return []
        events = await self.reader.read_simulation(
            attempt.tenant, attempt.session_id, run=so_far.life.run, upto_seq=so_far.place.seq
        )
        return [Simulated(event_kind(event), event.step, event.sim_time_s, payload_of(event)) for event in events]

    async def _end(self, attempt: AttemptLog, ended: Ended, lease: Lease, directory: Path) -> None:
        """Keep the artifacts, answer every open command with the terminal event (R18), let the order go."""
        stored = await self.keep_artifacts(directory)
        await attempt.append([record(kept, step=ended.step, sim_time_s=ended.sim_time_s) for kept in stored])
        await attempt.append_built(lambda life: _last_records(life, ended))
        log.info("session ended", session=attempt.session_id, end=type(ended.terminal).__name__)
        await lease.done()

    @contextlib.asynccontextmanager
    async def _background(self, attempt: AttemptLog, lease: Lease) -> AsyncIterator[asyncio.Task[None]]:
        """The lease's beat and the look-out for commands; yields the task that ends only when fenced."""
        beat = asyncio.create_task(lease.keep(), name=f"lease {attempt.session_id}")
        look = asyncio.create_task(self._look_out(attempt), name=f"look-out {attempt.session_id}")
        try:
            yield look
        finally:
            await cancel(beat, look)

    async def _look_out(self, attempt: AttemptLog) -> None:
        """Look at the log whenever somebody else publishes to it (core NATS, a wake-up only), and every 2 s."""
        wake = asyncio.Event()

        async def on_message(_: object) -> None:
            wake.set()

        name = subject(EventBatch, tenant=attempt.tenant, session=attempt.session_id)
        subscription = await self.broker.subscribe(name, cb=on_message, pending_msgs_limit=16)
        try:
            while True:
                await attempt.look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_PERIOD_S):
                        await wake.wait()
                wake.clear()
        finally:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()


def _last_records(life: SessionLife, ended: Ended) -> list[Record]:
    done = ended.terminal.command_id if isinstance(ended.terminal, SessionCancelled) else None
    answers = [
        CommandApplied(command_id=command.command_id)
        if command.command_id == done
        else CommandRejected(command_id=command.command_id, message="the session ended first")
        for command in life.open_commands
    ]
    return [record(payload, step=ended.step, sim_time_s=ended.sim_time_s) for payload in (*answers, ended.terminal)]


async def _cancel_command(attempt: AttemptLog) -> str:
    """The id of the first cancel that arrives."""
    while True:
        command = await attempt.commands.get()
        if command.verb is Verb.CANCEL:
            return command.command_id
