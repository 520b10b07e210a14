"""The last words of a session in a slot: its end, or its suspension."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointCause
from milepost.event.v1.event_pb2 import (
    CheckpointCommitted,
    CommandApplied,
    CommandRejected,
    SessionCancelled,
    SessionCompleted,
)
from milepost.event.v1.record_pb2 import Record
from milepost.session.v1.session_pb2 import MessagesKept
from session_log.codec import record
from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import Verb
from session_log.planned import planned_before
from session_log.writer import split
from sim_worker.application.fetch_past import FetchPast
from sim_worker.application.keep_artifacts import SUMO_LOG, KeepArtifacts
from sim_worker.application.outcomes import Ended
from sim_worker.application.session import Session
from sim_worker.gateways.sumo_log import says_anything

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndSession:
    """Appends what the log ends with."""

    keep_artifacts: KeepArtifacts
    fetch_past: FetchPast

    async def __call__(self, session: Session, ended: Ended) -> None:
        """Keep the artifacts, answer every open command with the terminal event (R18). Raises Fenced."""
        attempt = session.attempt
        stored = await self.keep_artifacts(session.directory, messages=_keeps_messages(session, ended))
        told = [*ended.unsent, *(record(one, step=ended.step, sim_time_s=ended.sim_time_s) for one in stored)]
        # The last of it shares the append of the end.
        *first, last = split(told) if told else [[]]
        for batch in first:
            await attempt.append(batch)
        await attempt.append_built(lambda life: [*last, *_last_records(life, ended)])
        log.info("session ended", session=attempt.session_id, end=type(ended.terminal).__name__)

    async def suspend(self, session: Session, command_id: str) -> None:
        """A checkpoint where the log ends, then the suspension. Raises Fenced."""
        attempt = session.attempt
        past, _ = await self.fetch_past(attempt)
        last = next((event for event in reversed(past.recorded) if event.HasField("interval_closed")), None)
        records: list[Record] = []
        if last is not None:
            made = Checkpoint(
                checkpoint_id=f"suspended-{attempt.seq}",
                run=past.run,
                step=last.step,
                sim_time_s=last.sim_time_s,
                journal_length=sum(entry.step < last.step for entry in past.journal),
                planned_length=planned_before(past.spec, past.scene, last.step),
                state_digest=last.interval_closed.state_digest,
                kpis=last.interval_closed.kpis,
                cause=CheckpointCause.CHECKPOINT_CAUSE_SUSPEND,
                attempt=attempt.attempt,
            )
            made.create_time.FromDatetime(datetime.now(UTC))
            records.append(record(CheckpointCommitted(checkpoint=made), step=made.step, sim_time_s=made.sim_time_s))
        time_s = past.scene.begin_time_s + past.head_step * past.scene.step_length_s
        records.append(record(CommandApplied(command_id=command_id), step=past.head_step, sim_time_s=time_s))
        await attempt.append(records)
        log.info("session suspended", session=attempt.session_id, step=past.head_step)


def _keeps_messages(session: Session, ended: Ended) -> bool:
    noteworthy_only = session.past.spec.messages == MessagesKept.MESSAGES_KEPT_NOTEWORTHY
    if not noteworthy_only or not isinstance(ended.terminal, SessionCompleted):
        return True
    return says_anything(session.directory / SUMO_LOG)


def _last_records(life: SessionLife, ended: Ended) -> list[Record]:
    answers = [
        CommandApplied(command_id=command.command_id)
        if _is_answered_by(command.command_id, command.verb, ended)
        else CommandRejected(command_id=command.command_id, message="the session ended first")
        for command in life.open_commands
    ]
    return [record(payload, step=ended.step, sim_time_s=ended.sim_time_s) for payload in (*answers, ended.terminal)]


def _is_answered_by(command_id: str, verb: Verb, ended: Ended) -> bool:
    """Whether this end is what the command asked for."""
    match ended.terminal:
        case SessionCancelled():
            return ended.terminal.command_id == command_id
        case SessionCompleted():
            return verb is Verb.TERMINATE
        case _:
            return False
