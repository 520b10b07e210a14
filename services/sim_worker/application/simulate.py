"""Simulate: a child process steps SUMO, its records go to the judge and then to the log.

The child never runs further than its run-ahead bound ahead of what is durable, so a broker that is slow or
away slows the simulation, and the outbox stays small by itself.
"""

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
from nats.aio.client import Client

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.child.v1.child_pb2 import Plan
from milepost.event.v1.event_pb2 import Event, SessionCompleted, StartKind
from milepost.session.v1.session_pb2 import Engine, SessionSpec
from runtime.blobs import Blobs
from session_log.past import Past
from session_log.reader import LogReader
from sim_worker.application.attempt_log import Fenced
from sim_worker.application.comparable import judge_of
from sim_worker.application.difference import difference
from sim_worker.application.follow_child import FollowChild, Tools
from sim_worker.application.gathering import gathering_of
from sim_worker.application.lingering import Lingering
from sim_worker.application.obey import child_command
from sim_worker.application.outbox import Elsewhere, Outbox
from sim_worker.application.outcomes import Died, Differed, Ended, Outcome, Rebased
from sim_worker.application.plans import begin_from, plan_of
from sim_worker.application.schedule import copy_every_steps, rebase_every_steps
from sim_worker.application.session import Key, Session, Start
from sim_worker.application.snapshots import Kept, Snapshots, next_name
from sim_worker.application.trace_attempt import TraceAttempt
from sim_worker.domain.judge import Diverged
from sim_worker.gateways.child_process import Child, ChildLimits
from sim_worker.gateways.frame_interest import FrameInterests
from sim_worker.gateways.snapshot import Snapshot
from sim_worker.gateways.zygote import Zygote

log = structlog.get_logger()

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """A worker's limits for the processes of its sessions."""

    memory_limit_mib: int
    file_size_limit_mib: int
    init_timeout_s: float
    stall_timeout_s: float
    niceness: int

    def of(self, spec: SessionSpec) -> ChildLimits:
        """Those of one session."""
        return ChildLimits(
            init_timeout_s=self.init_timeout_s,
            stall_timeout_s=self.stall_timeout_s,
            memory_limit_bytes=(spec.memory_limit_mib or self.memory_limit_mib) * _MIB,
        )


@dataclass(frozen=True, slots=True)
class Simulate:
    """Runs one child from a start to what comes of it."""

    zygote: Zygote
    limits: Limits
    broker: Client
    reader: LogReader
    interests: FrameInterests
    snapshots: Snapshots
    lingering: Lingering
    blobs: Blobs
    worker_id: str
    children: dict[Key, Child] = field(default_factory=dict)
    """The processes of all sessions that run here."""

    async def __call__(self, session: Session, start: Start) -> Outcome:
        """What came of it, everything before being in the log. Cancelling kills the child.

        Raises Fenced; ZygoteFailed, ChildGone and ChildRefused when there is no process to begin with.
        """
        past = session.past
        waiting = session.attempt.waiting()
        plan = self.plan(session, start)
        plan.commands.extend(filter(None, map(child_command, waiting)))
        for command in waiting:
            if child_command(command) is None:
                session.attempt.commands.put_nowait(command)
        spans = TraceAttempt(session, start)
        child = await self._begin(session, start, plan)
        rebasing = past.spec.recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE
        judge = judge_of(_after(start, past), start=start.kind, rebasing=rebasing, tolerant=session.tolerant)
        gathering = gathering_of(past.spec)
        outbox = Outbox(
            session.attempt,
            judge,
            child.durable,
            gathering,
            start=start,
            exact=rebasing or start.checkpoint is None,
            elsewhere=_elsewhere(session),
        )
        follow = FollowChild(
            Tools(
                self.broker,
                self.interests,
                self.snapshots,
                self.blobs,
                self.worker_id,
                self.zygote.ready.libm_fingerprint,
            ),
            session,
            child,
            outbox,
            start,
            spans=spans,
        )
        self.children[session.key] = child
        try:
            outcome = await follow()
        except ExceptionGroup as group:
            if group.subgroup(Fenced):
                raise Fenced from group
            if (differed := group.subgroup(Diverged)) is None:
                raise
            outcome = await self._differed(session, outbox, _leaf(differed), start)
        else:
            self._let_stay(session, child, outcome)
            if isinstance(outcome, Rebased):
                # What it wrote is complete only when it has left by itself.
                await child.stop()
                outcome = replace(outcome, judged=outbox.judged)
        finally:
            spans.close()
            del self.children[session.key]
            child.lingering.cancel()
            child.kill()
            await asyncio.shield(child.exited())
            child.close()
        follow.collect_lines()
        if isinstance(outcome, Ended) and not gathering.prompt:
            return replace(outcome, unsent=outbox.take())
        await outbox.flush()
        return replace(outcome, gained=outcome.gained or outbox.gained) if isinstance(outcome, Died) else outcome

    async def _begin(self, session: Session, start: Start, plan: Plan) -> Child:
        limits = self.limits.of(session.past.spec)
        if start.kept is None:
            return await self.zygote.launch(plan, session.directory, limits)
        if start.lingers:
            assert start.parent is not None
            return await self._begin_from_end(session, start.parent, plan)
        kept, key = start.kept, start.parent or session.key
        # A copy that belongs to a checkpoint, or to another session, leaves one in its place.
        keep_as = next_name(kept.snapshot.snapshot_id) if start.parent or kept.checkpoint_id else ""
        session.started = kept.started
        child = await kept.snapshot.wake(
            plan, keep_as=keep_as, directory=session.directory if start.parent else None, limits=limits
        )
        if child.kept is not None:
            child.kept.add_done_callback(partial(self._keep, key, kept))
        return child

    async def _begin_from_end(self, session: Session, parent: Key, plan: Plan) -> Child:
        """Wake what an ended session has left; another copy takes its place. Raises ChildGone."""
        stay = await self.lingering.take(parent)
        session.started = stay.kept.started
        try:
            child = await stay.kept.snapshot.wake(
                plan,
                keep_as=next_name(stay.kept.snapshot.snapshot_id),
                directory=session.directory,
                limits=self.limits.of(session.past.spec),
            )
        except BaseException:
            self.lingering.give_back(parent, stay, None)
            raise
        assert child.kept is not None
        child.kept.add_done_callback(lambda taken: self.lingering.give_back(parent, stay, _result_of(taken)))
        return child

    def _let_stay(self, session: Session, child: Child, outcome: Outcome) -> None:
        """What a session that is complete has left at its last step."""
        if not child.lingering.done():
            return
        if isinstance(outcome, Ended) and isinstance(outcome.terminal, SessionCompleted):
            assert session.started is not None
            kept = Kept(session.past.run, child.lingering.result(), session.started)
            self.lingering.stay(session.key, kept, for_s=session.past.spec.linger_s)
        else:
            child.lingering.result().close()

    def _keep(self, key: Key, kept: Kept, taken: asyncio.Task[Snapshot]) -> None:
        """What a woken copy left in its place, unless nothing came of it, or its session left meanwhile."""
        if (snapshot := _result_of(taken)) is None:
            log.info("no copy was left behind", session=key[1], step=kept.step)
        elif key in self.children:
            self.snapshots.keep(key, replace(kept, snapshot=snapshot))
        else:
            snapshot.close()

    def plan(self, session: Session, start: Start) -> Plan:
        """What the child runs."""
        past = session.past
        plan = plan_of(past, session.scene.arguments if session.scene else ())
        plan.file_size_limit_bytes = self.limits.file_size_limit_mib * _MIB
        plan.niceness = self.limits.niceness
        plan.run_ahead_intervals = gathering_of(past.spec).run_ahead_intervals
        plan.pace = past.pacing.factor
        if past.pacing.hold_at_step is not None:
            plan.hold_at_step = past.pacing.hold_at_step
        if past.pacing.hold_at_time_s is not None:
            plan.hold_at_time_s = past.pacing.hold_at_time_s
        plan.copy_every_steps = copy_every_steps(past)
        plan.rebase_every_steps = rebase_every_steps(past)
        can_stay = past.spec.engine != Engine.ENGINE_TRACI and self.lingering.max_copies > 0
        plan.lingers = can_stay and past.spec.linger_s > 0
        plan.not_rebased_steps.extend(session.not_rebased)
        if start.checkpoint is not None:
            begin_from(plan, past, start.checkpoint)
        return plan

    async def _differed(self, session: Session, outbox: Outbox, diverged: Diverged, start: Start) -> Differed:
        """The log's verdict on an attempt that computed something else."""
        attempt, recorded = session.attempt, _after(start, session.past)
        there = recorded[diverged.equal_records] if diverged.equal_records < len(recorded) else None
        words = difference(there, diverged.computed)
        log.warning("differs from the log", session=attempt.session_id, difference=words)
        outbox.judge_diverged(diverged, words)
        return Differed(diverged.step, words)


def _after(start: Start, past: Past) -> list[Event]:
    """The records that a start computes again."""
    from_origin = start.kind == StartKind.START_KIND_ORIGIN
    return [event for event in past.recorded if from_origin or event.step > start.step]


def _elsewhere(session: Session) -> Elsewhere | None:
    created = session.past.created
    if not created.HasField("forked_from"):
        return None
    fork = session.fork_past
    return Elsewhere(created.forked_from.step, fork.digest_step, fork.state_digest)


def _result_of(taken: asyncio.Task[Snapshot]) -> Snapshot | None:
    return None if taken.cancelled() or taken.exception() is not None else taken.result()


def _leaf(group: BaseExceptionGroup[Diverged]) -> Diverged:
    first = group.exceptions[0]
    return first if isinstance(first, Diverged) else _leaf(first)
