"""Fork: a new session with the past of this one, recovered from its own log alone (log.md R19).

    place ─► ForkPast, a blob if large ─► SessionCreated{forked_from} + interventions in the child's log ─► its order
                                          └─► SessionForked in the parent's log

A crash on the way leaves a child its parent does not know, or nothing; the same request again completes it.
"""

import asyncio
import hashlib
import os
import uuid
from dataclasses import dataclass, replace

from milepost.event.v1.event_pb2 import (
    CheckpointCommand,
    CommandRequested,
    ForkCommand,
    ForkPast,
    JournalEntry,
    Label,
    SessionCreated,
)
from milepost.event.v1.record_pb2 import Record
from milepost.session.v1.session_pb2 import ForkOrigin, Session
from milepost.session.v1.session_service_pb2 import ForkSessionRequest
from runtime.blobs import Blobs
from session_api.application.append_command import (
    AppendCommand,
    Caller,
    claimed,
    name_command,
    require_legal_now,
    state_of,
)
from session_api.application.begin_log import BeginLog
from session_api.application.create_session import request_digest, request_id_reused
from session_api.application.keep_checkpoint import KeepCheckpoint
from session_api.application.places import Place, Places
from session_api.application.plan_from import plan_from
from session_api.application.refusals import field_invalid, not_stored_yet, quota_exceeded
from session_api.application.task import continued
from session_api.application.tell_parent import TellParent
from session_api.domain.quota import OverQuota
from session_api.domain.session_ids import RANDOM_BYTES, session_id
from session_api.gateways.request_ids import Asked
from session_api.gateways.work_orders import line_of
from session_log.codec import record
from session_log.domain.lifecycle import Verb, legal_verbs
from session_log.reader import LogSoFar
from session_log.writer import MAX_BATCH_BYTES

# A past up to this size stands in the child's first event: two ways to the store less before the child runs.
INLINE_PAST_BYTES = 16 * 1024
# What the first event of the child takes of its first batch, at most, bytes.
_CREATED_BYTES = 64 * 1024
# How long an answer may wait for the projection to show the child, seconds.
_OWN_EVENT_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class ForkSession:
    """Any state that has something behind it; the state stays."""

    append: AppendCommand
    begin: BeginLog
    places: Places
    checkpoints: KeepCheckpoint
    tell_parent: TellParent
    blobs: Blobs

    async def __call__(self, caller: Caller, request: ForkSessionRequest) -> Session:
        """The new session, PENDING.

        Raises as AppendCommand, and CallRefused: CHECKPOINT_NOT_FOUND, TIME_NOT_REACHED, FIELD_INVALID,
        SESSION_EXISTS, QUOTA_EXCEEDED, LOG_FULL.
        """
        caller = replace(caller, request_id=caller.request_id or str(uuid.uuid4()))
        log, known = await asyncio.gather(
            self.append.read(caller.tenant, request.session_id),
            self.append.sessions.recall(caller.tenant, caller.request_id),
        )
        digest = request_digest(request)
        if known is not None and known.request_digest != digest:
            raise request_id_reused(caller.request_id, known.session_id)
        child_id = known.session_id if known is not None else ""
        if caller.request_id not in log.life.commands:
            require_legal_now(log, CommandRequested(fork=ForkCommand()))
            await self.begin.require_room()
            place = await self._place(caller, request, log)
            past = await self._fork_past(log, place)
            created, others = self._created(caller, request, log, place, past)
            wanted = request.new_session_id or session_id(self.append.clock(), os.urandom(RANDOM_BYTES))
            await self._store_past(past)
            noted = await self.append.sessions.remember(caller.tenant, Asked(caller.request_id, wanted, digest))
            if isinstance(noted, OverQuota):
                raise quota_exceeded(caller.tenant, noted)
            if noted.request_digest != digest:
                raise request_id_reused(caller.request_id, noted.session_id)
            child_id = noted.session_id
            created = await self.begin(caller.tenant, child_id, created, others)
            await self.append.place.soon([(line_of(caller.tenant, created), child_id)], held=False)
            await self.tell_parent(caller, request.session_id, child_id, created.forked_from)
        child = await self.append.sessions.get_when(caller.tenant, child_id, min_seq=1, timeout_s=_OWN_EVENT_WAIT_S)
        if child is None:
            raise not_stored_yet("the fork is recorded; read again")
        return child

    async def _place(self, caller: Caller, request: ForkSessionRequest, log: LogSoFar) -> Place:
        tenant, parent = caller.tenant, request.session_id
        match request.WhichOneof("at"):
            case "checkpoint_id":
                return await self.places.checkpoint(tenant, parent, log, request.checkpoint_id)
            case "sim_time_s":
                return await self.places.at_time(tenant, parent, log, request.sim_time_s)
        if not claimed(log) or Verb.CHECKPOINT not in legal_verbs(state_of(log)):
            return await self.places.end(tenant, parent, log)
        # Of the same request id the same checkpoint: a retry forks where the first try did.
        own = replace(caller, request_id=str(uuid.uuid5(uuid.UUID(caller.request_id), "checkpoint")))
        made = await self.checkpoints.make(own, parent, CheckpointCommand(name="fork"), log)
        if made is None:
            raise not_stored_yet("the checkpoint to fork at is on its way; ask again with the same request_id")
        return await self.places.checkpoint(tenant, parent, log, made)

    def _created(
        self, caller: Caller, request: ForkSessionRequest, log: LogSoFar, place: Place, past: ForkPast
    ) -> tuple[SessionCreated, list[Record]]:
        """The child's first batch: what it is, and what is to be applied at its very first step."""
        end_time_s = request.end_time_s if request.HasField("end_time_s") else None
        spec, scene = continued(log, place, end_time_s)
        spec.ClearField("stop_time_s")
        spec.ClearField("linger_s")
        plan_from(place, request, spec)
        others = [self._intervention(caller, request, place, index) for index in range(len(request.interventions))]
        room = MAX_BATCH_BYTES - _CREATED_BYTES - sum(planned.ByteSize() for planned in spec.interventions)
        if sum(one.ByteSize() for one in others) > room:
            raise field_invalid("interventions", f"are more than {room} bytes")
        origin = ForkOrigin(
            session_id=request.session_id,
            run=place.past.run,
            step=place.step,
            sim_time_s=place.sim_time_s,
            past_sha256="" if _is_small(past) else hashlib.sha256(_stored_form(past)).hexdigest(),
            state_sha256=_state_sha256(past),
        )
        created = SessionCreated(
            tenant=caller.tenant,
            request_id=caller.request_id,
            request_digest=request_digest(request),
            display_name=request.display_name or f"fork of {request.session_id} at {place.sim_time_s:g} s",
            labels=[Label(key=key, value=value) for key, value in sorted(request.labels.items())],
            spec=spec,
            scene=scene,
            auto_start=True,
            pool=log.created.pool,
            forked_from=origin,
            subject=caller.subject,
            fork_past=past if _is_small(past) else None,
        )
        return created, others

    async def _store_past(self, past: ForkPast) -> None:
        """Before the child's log names it."""
        if not _is_small(past):
            await self.blobs.put_bytes(_stored_form(past))
        if state_sha256 := _state_sha256(past):
            # Its lease begins anew: the parent may let go of the file before the child's log names it (R16).
            await self.blobs.missing([state_sha256])

    def _intervention(self, caller: Caller, request: ForkSessionRequest, place: Place, index: int) -> Record:
        command = CommandRequested(intervene=request.interventions[index], comment="at the fork")
        name_command(command, replace(caller, request_id=str(uuid.uuid5(uuid.UUID(caller.request_id), str(index)))))
        return record(command, step=place.step, sim_time_s=place.sim_time_s)

    async def _fork_past(self, log: LogSoFar, place: Place) -> ForkPast:
        origin = await self.places.origin(log)
        execution = log.started.execution
        past = ForkPast(
            sumo_version=execution.sumo_version or origin.sumo_version,
            libm_fingerprint=execution.libm_fingerprint or origin.libm_fingerprint,
            journal=[_before_what_is_planned(entry, place) for entry in place.past.journal[: place.journal_length]],
            planned_length=place.planned_length,
            rebased=[made for made in place.past.rebased if made.step <= place.step],
        )
        if 0 < origin.digest_step <= place.step:
            past.state_digest, past.digest_step = origin.state_digest, origin.digest_step
        steps = max(1, place.past.spec.interval_steps)
        for event in place.past.recorded:
            # What was closed early because the run ended there is no interval of a run that goes on.
            if event.HasField("interval_closed") and event.step <= place.step and event.step % steps == 0:
                past.state_digest, past.digest_step = event.interval_closed.state_digest, event.step
        return past


def _before_what_is_planned(entry: JournalEntry, place: Place) -> JournalEntry:
    """At the very step of the fork the parent's journal comes before what the child alone has planned."""
    if entry.step < place.step or entry.HasField("planned_length"):
        return entry
    there = JournalEntry(planned_length=place.planned_length)
    there.MergeFrom(entry)
    return there


def _is_small(past: ForkPast) -> bool:
    return past.ByteSize() <= INLINE_PAST_BYTES


def _stored_form(past: ForkPast) -> bytes:
    return past.SerializeToString(deterministic=True)


def _state_sha256(past: ForkPast) -> str:
    """The state file a fork goes on from, the last of its past (REBASE); empty when there is none."""
    return past.rebased[-1].state_file.sha256 if past.rebased else ""
