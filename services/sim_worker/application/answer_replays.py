"""Answer questions that only a simulation can: the state at a past time, and whether a run comes out equal again.

It runs in a process and a directory of its own, beside whatever the session does, and writes nothing to its log.
"""

import asyncio
import contextlib
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import nats.errors
import structlog
import zstandard
from nats.aio.client import Client
from nats.aio.msg import Msg

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.child.v1.child_pb2 import Finished, FromChild, Plan, Stop, ToChild
from milepost.dispatch.v1.dispatch_pb2 import ReplayAnswer, ReplayRequest, RunVerified, Working
from milepost.event.v1.event_pb2 import Event, IntervalClosed
from milepost.event.v1.record_pb2 import Record
from milepost.session.v1.session_pb2 import CompletionReason, Results
from runtime.identity import acting_for
from session_log.codec import kind_of, record
from session_log.past import Past
from session_log.planned import in_order, planned_before
from session_log.reader import LogReader, UnknownSession
from sim_worker.application.comparable import clear_trips, judge_of
from sim_worker.application.difference import difference
from sim_worker.application.fetch_past import FetchPast
from sim_worker.application.plans import plan_of
from sim_worker.application.prepare_scene import SceneFailed
from sim_worker.application.replay import Replay, ReplayTools
from sim_worker.domain.judge import Diverged, Judge, Simulated
from sim_worker.gateways.child_process import Child, ChildGone, ChildRefused
from sim_worker.gateways.zygote import ZygoteFailed

log = structlog.get_logger()

# Replays at once, beside the slots.
MAX_AT_ONCE: Final = 2
# How often it is said that an answer is on its way, seconds.
_WORKING_PERIOD_S: Final = 0.5
_INTERVAL = kind_of(IntervalClosed)
_TERMINATED = CompletionReason.COMPLETION_REASON_TERMINATED
# Nobody waits for the log here.
_NO_BOUND: Final = 1 << 30


@dataclass(eq=False)
class CannotAnswer(Exception):
    """In words."""

    message: str


@dataclass(slots=True)
class AnswerReplays:
    """Serves one question at a time per permit; more wait for another worker or another try."""

    broker: Client
    reader: LogReader
    fetch_past: FetchPast
    tools: ReplayTools
    folder: Path
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))
    _step: int = 0

    async def __call__(self, message: Msg) -> None:
        """Answer one request, or be silent when nobody waits any more."""
        request = ReplayRequest.FromString(message.data)
        if request.HasField("deadline") and request.deadline.ToDatetime(UTC) < datetime.now(UTC):
            return
        telling = asyncio.create_task(self._keep_telling(message))
        try:
            async with self._free:
                with acting_for(request.tenant):
                    answer = await self._answer(request)
        finally:
            telling.cancel()
        with contextlib.suppress(nats.errors.Error):
            await message.respond(answer.SerializeToString())

    async def _answer(self, request: ReplayRequest) -> ReplayAnswer:
        directory = self.folder / f"replay-{uuid.uuid4().hex}"
        try:
            past = await self._past(request)
            if request.WhichOneof("question") == "verify":
                return ReplayAnswer(verified=await self._verify(past, directory))
            return ReplayAnswer(state_zstd=await self._state(request, past, directory))
        except (SceneFailed, CannotAnswer, ZygoteFailed, UnknownSession, ChildGone, ChildRefused, ValueError) as error:
            words = error.failure.message if isinstance(error, SceneFailed) else str(error) or repr(error)
            return ReplayAnswer(failed=words)
        except Exception as error:
            log.exception("replay failed", session=request.session_id)
            return ReplayAnswer(failed=repr(error))
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _past(self, request: ReplayRequest) -> Past:
        key = request.tenant, request.session_id
        so_far = await self.reader.read(*key)
        fork = await self.fetch_past.fork_past(so_far.created)
        return await self.reader.read_past(*key, run=request.run, origin=fork)

    async def _state(self, request: ReplayRequest, past: Past, directory: Path) -> bytes:
        step = request.state_at_step
        key = request.tenant, request.session_id
        kept = self.tools.snapshots.best(key, past, upto_step=step, unchanged=True)
        plan = self._plan(past)
        # What was applied at the step itself came after it.
        del plan.journal[sum(entry.step < step for entry in past.journal) :]
        del plan.planned[:]
        plan.planned.extend(in_order(past.spec.interventions)[: planned_before(past.spec, past.scene, step)])
        plan.replay_to_step, plan.hold_at_step = step, step
        # Also the very last step is one to stand at.
        plan.end_time_s = past.scene.begin_time_s + (step + 1) * past.scene.step_length_s
        plan.stop_when_empty = False
        plan.ClearField("goal")
        replay = Replay(self.tools, past, plan, directory)
        try:
            if kept is not None:
                await replay.from_copy(kept, key)
            elif not await replay.from_file(upto_step=step):
                await replay.from_origin()
            state: asyncio.Task[bytes] | None = None
            async with contextlib.aclosing(replay.messages()) as messages:
                async for message in messages:
                    self._note(message)
                    if message.HasField("failed"):
                        raise CannotAnswer(message.failed.message)
                    # It stands at the step, or the run ended there.
                    if message.HasField("halted") and message.halted.step >= step and state is None:
                        state = asyncio.create_task(_described(replay.child))
                        state.add_done_callback(lambda _: replay.child.kill())
            if state is None:
                raise CannotAnswer(f"the simulation ended before step {step}")
            return await state
        finally:
            await replay.close()

    async def _verify(self, past: Past, directory: Path) -> RunVerified:
        recorded = list(past.recorded)
        judge = judge_of(recorded, rebasing=past.spec.recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE)
        plan, completed = self._plan(past), past.completed
        if completed is not None and completed.session_completed.results.reason == _TERMINATED:
            # It ended where it was told to, and is told so again.
            plan.replay_to_step = plan.hold_at_step = completed.step
        replay = Replay(self.tools, past, plan, directory)
        try:
            await replay.from_origin()
            judged = _Judged(judge, past.created.forked_from.step if past.created.HasField("forked_from") else -1)
            judged.take(record(replay.prepared))
            async with contextlib.aclosing(replay.messages()) as messages:
                async for message in messages:
                    self._note(message)
                    judged.take(_record_of(message))
                    if message.HasField("failed"):
                        raise CannotAnswer(message.failed.message)
                    if message.HasField("halted"):
                        await replay.child.send(ToChild(stop=Stop()))
                    if message.HasField("finished") and completed is not None:
                        return _compared(message.finished, completed, judge)
                    if completed is None and not judge.deliberating:
                        return RunVerified(records=judge.equal)
        except Diverged as diverged:
            there = recorded[diverged.equal_records] if diverged.equal_records < len(recorded) else None
            return RunVerified(
                records=diverged.equal_records,
                diverged_step=max(1, diverged.step),
                difference=difference(there, diverged.computed),
            )
        finally:
            await replay.close()
        raise CannotAnswer(f"the simulation ended after {judge.equal} of {len(recorded)} records")

    def _plan(self, past: Past) -> Plan:
        plan = plan_of(past, ())
        plan.run_ahead_intervals = plan.replay_to_step = _NO_BOUND
        plan.file_size_limit_bytes = self.tools.limits.file_size_limit_mib * 1024 * 1024
        plan.niceness = self.tools.limits.niceness
        return plan

    def _note(self, message: FromChild) -> None:
        if message.HasField("interval"):
            self._step = message.interval.step

    async def _keep_telling(self, message: Msg) -> None:
        while True:
            with contextlib.suppress(nats.errors.Error):
                await message.respond(ReplayAnswer(working=Working(step=self._step)).SerializeToString())
            await asyncio.sleep(_WORKING_PERIOD_S)


async def _described(child: Child) -> bytes:
    state = await child.describe()
    return zstandard.compress(state.SerializeToString())


@dataclass(frozen=True, slots=True)
class _Judged:
    """Records on their way to the judge; those up to a fork stand in another log."""

    judge: Judge
    elsewhere_to_step: int

    def take(self, item: Record | None) -> None:
        """Raises Diverged."""
        if item is not None and item.step > self.elsewhere_to_step and self.judge.deliberating:
            self.judge.is_known(Simulated(item.kind, item.step, item.sim_time_s, item.payload))


def _compared(finished: Finished, completed: Event, judge: Judge) -> RunVerified:
    """The results at the end."""
    computed, recorded = Results(), Results()
    computed.CopyFrom(finished.results)
    recorded.CopyFrom(completed.session_completed.results)
    if recorded.kpis.approximate_trips:
        clear_trips(computed.kpis)
        clear_trips(recorded.kpis)
    if computed == recorded and not judge.deliberating:
        return RunVerified(records=judge.equal + 1)
    return RunVerified(records=judge.equal, diverged_step=max(1, finished.step), difference="the results differ")


def _record_of(message: FromChild) -> Record | None:
    match message.WhichOneof("message"):
        case "interval":
            interval = message.interval
            return Record(kind=_INTERVAL, step=interval.step, sim_time_s=interval.sim_time_s, payload=interval.payload)
        case "told":
            told = message.told
            return Record(kind=told.kind, step=told.step, sim_time_s=told.sim_time_s, payload=told.payload)
        case _:
            return None
