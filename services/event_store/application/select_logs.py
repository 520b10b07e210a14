"""Find the logs a query is about: by id, by label, or all of a tenant.

Labels stand in the logs themselves. A directory of them is brought level on every question, from where it stood:
the first one after a start looks through everything, the others through what was stored since.
"""

import asyncio
from dataclasses import dataclass, field

from event_store.application.find_log import FindLog
from event_store.gateways.event_rows import EventRows, Head, StoredRow
from milepost.event.v1.event_pb2 import EventKind
from milepost.event.v1.session_set_pb2 import SessionSet

_KINDS = frozenset(
    {
        EventKind.EVENT_KIND_SESSION_CREATED,
        EventKind.EVENT_KIND_SESSION_UPDATED,
        EventKind.EVENT_KIND_SESSION_DELETED,
        EventKind.EVENT_KIND_SESSION_UNDELETED,
    }
)
# One look: rows, and bytes of payload.
_LOOK_ROWS = 2000
_LOOK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SelectedLog:
    """A log that a query is about, and where it ended when it was found."""

    session_id: str
    head: Head


@dataclass(slots=True)
class _Directory:
    """The labels of a tenant's sessions, up to a place of the stream."""

    epoch: str = ""
    stream_seq: int = 0
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take(self, stored: StoredRow) -> None:
        """One more event of _KINDS."""
        session_id = stored.key[1]
        event = stored.row.event
        match event.WhichOneof("payload"):
            case "session_created":
                self.labels[session_id] = {label.key: label.value for label in event.session_created.labels}
                self.deleted.discard(session_id)
            case "session_updated":
                self.labels[session_id] = {label.key: label.value for label in event.session_updated.labels}
            case "session_deleted":
                self.deleted.add(session_id)
            case "session_undeleted":
                self.deleted.discard(session_id)


@dataclass(frozen=True, slots=True)
class SelectLogs:
    """Answers with the logs of a SessionSet, in its order."""

    rows: EventRows
    find: FindLog
    _directories: dict[str, _Directory] = field(default_factory=dict)

    async def __call__(self, tenant: str, wanted: SessionSet) -> list[SelectedLog]:
        """Raises CallRefused, those of FindLog, for sessions that were named."""
        if wanted.session_ids:
            selected = await self._named(tenant, list(wanted.session_ids))
            if not wanted.labels:
                return selected
            directory = await self._level(tenant)
            return [one for one in selected if _carries(directory, one.session_id, wanted)]
        directory = await self._level(tenant)
        there = [
            (tenant, session_id)
            for session_id in directory.labels
            if session_id not in directory.deleted and _carries(directory, session_id, wanted)
        ]
        heads = await self.rows.heads(there)
        for key in set(there) - heads.keys():
            # Went for good.
            directory.labels.pop(key[1], None)
        return [SelectedLog(key[1], heads[key]) for key in sorted(heads)]

    async def _named(self, tenant: str, session_ids: list[str]) -> list[SelectedLog]:
        heads = await self.rows.heads([(tenant, session_id) for session_id in session_ids])
        return [
            # What is not stored may be on its way.
            SelectedLog(session_id, heads.get((tenant, session_id)) or await self.find(tenant, session_id))
            for session_id in session_ids
        ]

    async def _level(self, tenant: str) -> _Directory:
        """The directory as far as anything is stored now."""
        directory = self._directories.setdefault(tenant, _Directory())
        async with directory.turn:
            complete = False
            while not complete:
                stretch = await self.rows.read_all(
                    after_stream_seq=directory.stream_seq,
                    limit=_LOOK_ROWS,
                    limit_bytes=_LOOK_BYTES,
                    kinds=_KINDS,
                    tenant=tenant,
                )
                if stretch is None:
                    break
                if directory.epoch not in ("", stretch.place.epoch):
                    # Another stream counts from the beginning; what was stored before it stays known.
                    directory.epoch, directory.stream_seq = "", 0
                    continue
                for stored in stretch.rows:
                    directory.take(stored)
                directory.epoch, directory.stream_seq = stretch.place.epoch, stretch.place.stream_seq
                complete = stretch.complete
        return directory


def _carries(directory: _Directory, session_id: str, wanted: SessionSet) -> bool:
    carried = directory.labels.get(session_id, {})
    return all(carried.get(key) == value for key, value in wanted.labels.items())
