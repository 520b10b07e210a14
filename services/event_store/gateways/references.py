"""What a log's events mean for what is kept: which blobs they name, and when the session goes for good.

Noted in the transaction that stores the events, so a stored event never names a blob that nothing keeps.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.keeping_tables import blob_references, deletions, unnoted_logs
from event_store.gateways.tables import logs
from milepost.event.v1.event_pb2 import (
    ArtifactStored,
    CheckpointCommitted,
    CheckpointDeleted,
    EventKind,
    RunOpened,
    SessionCreated,
    SessionDeleted,
    SessionUpdated,
)
from milepost.event.v1.record_pb2 import Record
from milepost.study.v1.study_event_pb2 import StudyCreated, StudyDeleted

SCENARIO = "scenario"
"""Name of a reference to a scenario's manifest: it keeps the files of the manifest, too."""

NOTED_KINDS = frozenset(
    {
        EventKind.EVENT_KIND_SESSION_CREATED,
        EventKind.EVENT_KIND_SESSION_UPDATED,
        EventKind.EVENT_KIND_RUN_OPENED,
        EventKind.EVENT_KIND_CHECKPOINT_COMMITTED,
        EventKind.EVENT_KIND_CHECKPOINT_DELETED,
        EventKind.EVENT_KIND_ARTIFACT_STORED,
        EventKind.EVENT_KIND_SESSION_DELETED,
        EventKind.EVENT_KIND_SESSION_UNDELETED,
        EventKind.EVENT_KIND_STUDY_CREATED,
        EventKind.EVENT_KIND_STUDY_DELETED,
    }
)
"""Kinds whose events name blobs, or let a log go."""

# Logs of the release before that are looked at in one round.
_UNNOTED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Noted:
    """An event as it is stored, as far as it matters here."""

    log_key: int
    kind: int
    payload: bytes


Reference = tuple[int, str, str]
"""Log key, digest, name."""


@dataclass(slots=True)
class _Notes:
    """What a batch of events adds up to. Dropped names go before `named` is inserted: names are never used again."""

    named: dict[Reference, None] = field(default_factory=dict)
    dropped: set[tuple[int, str]] = field(default_factory=set)
    purge_us: dict[int, int | None] = field(default_factory=dict)


def noted_in(log_key: int, records: Iterable[Record]) -> list[Noted]:
    """Those of a log's records that matter here."""
    return [Noted(log_key, record.kind, record.payload) for record in records if record.kind in NOTED_KINDS]


def named_blobs(kind: int, payload: bytes) -> Iterator[tuple[str, str]]:
    """(digest, name) of every blob that an event names."""
    match kind:
        case EventKind.EVENT_KIND_SESSION_CREATED:
            created = SessionCreated.FromString(payload)
            yield created.scene.scenario_digest, SCENARIO
            yield created.forked_from.past_sha256, "origin"
            yield created.forked_from.state_sha256, "origin/state"
        case EventKind.EVENT_KIND_SESSION_UPDATED:
            yield SessionUpdated.FromString(payload).scene.scenario_digest, SCENARIO
        case EventKind.EVENT_KIND_RUN_OPENED:
            yield RunOpened.FromString(payload).scene.scenario_digest, SCENARIO
        case EventKind.EVENT_KIND_CHECKPOINT_COMMITTED:
            checkpoint = CheckpointCommitted.FromString(payload).checkpoint
            yield checkpoint.state_file.sha256, _checkpoint(checkpoint.checkpoint_id)
        case EventKind.EVENT_KIND_STUDY_CREATED:
            study = StudyCreated.FromString(payload)
            yield study.plan_sha256, "plan"
            for digest in study.scenario_digests:
                yield digest, SCENARIO
        case EventKind.EVENT_KIND_ARTIFACT_STORED:
            artifact = ArtifactStored.FromString(payload).artifact
            yield artifact.sha256, f"artifact/{artifact.name}"


async def note(connection: AsyncConnection, events: Sequence[Noted]) -> None:
    """Note what these events, in order per log, say; the same events again change nothing."""
    notes = _Notes()
    for event in events:
        _take(notes, event)
    await _write(connection, notes)


def _take(notes: _Notes, event: Noted) -> None:
    match event.kind:
        case EventKind.EVENT_KIND_CHECKPOINT_DELETED:
            name = _checkpoint(CheckpointDeleted.FromString(event.payload).checkpoint_id)
            notes.dropped.add((event.log_key, name))
            notes.named = {key: None for key in notes.named if (key[0], key[2]) != (event.log_key, name)}
        case EventKind.EVENT_KIND_SESSION_DELETED:
            notes.purge_us[event.log_key] = _microseconds(SessionDeleted.FromString(event.payload).purge_time)
        case EventKind.EVENT_KIND_STUDY_DELETED:
            notes.purge_us[event.log_key] = _microseconds(StudyDeleted.FromString(event.payload).purge_time)
        case EventKind.EVENT_KIND_SESSION_UNDELETED:
            notes.purge_us[event.log_key] = None
        case _:
            for sha256, name in named_blobs(event.kind, event.payload):
                if sha256:
                    notes.named[event.log_key, sha256, name] = None


async def _write(connection: AsyncConnection, notes: _Notes) -> None:
    table = blob_references
    if notes.dropped:
        gone = tuple_(table.c.log_key, table.c.name).in_(sorted(notes.dropped))
        await connection.execute(delete(table).where(gone))
    if notes.named:
        query = select(table).where(table.c.log_key.in_({key[0] for key in notes.named}))
        known = {(row.log_key, row.sha256, row.name) for row in await connection.execute(query)}
        rows = [dict(zip(("log_key", "sha256", "name"), key, strict=True)) for key in notes.named if key not in known]
        if rows:
            await connection.execute(insert(table), rows)
    if notes.purge_us:
        await connection.execute(delete(deletions).where(deletions.c.log_key.in_(notes.purge_us)))
        due = [{"log_key": key, "purge_us": us, "stage": 0} for key, us in notes.purge_us.items() if us is not None]
        if due:
            await connection.execute(insert(deletions), due)


def _microseconds(time: Timestamp) -> int:
    return round(time.ToDatetime(UTC).timestamp() * 1_000_000)


def _checkpoint(checkpoint_id: str) -> str:
    return f"checkpoint/{checkpoint_id}"


@dataclass(frozen=True, slots=True)
class UnnotedLog:
    """A log of the release before."""

    log_key: int
    head_seq: int


class Unnoted:
    """Logs that were stored before references were."""

    def __init__(self, engine: AsyncEngine, writing: asyncio.Lock) -> None:
        """`writing` is taken by every writer of the database."""
        self._engine = engine
        self._writing = writing

    async def some(self) -> list[UnnotedLog]:
        """The next of them."""
        query = (
            select(logs.c.log_key, logs.c.head_seq)
            .join(unnoted_logs, unnoted_logs.c.log_key == logs.c.log_key)
            .order_by(logs.c.log_key)
            .limit(_UNNOTED_AT_ONCE)
        )
        async with self._engine.connect() as connection:
            return [UnnotedLog(*row) for row in await connection.execute(query)]

    async def note(self, item: UnnotedLog, events: Sequence[Noted]) -> bool:
        """Note a log's events; False, and nothing is noted, when it has grown since it was read."""
        head = select(logs.c.head_seq).where(logs.c.log_key == item.log_key).with_for_update()
        async with self._writing, self._engine.begin() as connection:
            if (await connection.execute(head)).scalar_one() != item.head_seq:
                return False
            await note(connection, events)
            await connection.execute(delete(unnoted_logs).where(unnoted_logs.c.log_key == item.log_key))
        return True
