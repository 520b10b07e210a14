"""Which events a follower of all logs wants: by kind, by session, and by labels as they stand in each log."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from event_store.gateways.event_rows import EventRow, EventRows, StoredRow
from milepost.event.v1.event_pb2 import EventKind, SessionCreated, SessionUpdated

_CREATED = EventKind.EVENT_KIND_SESSION_CREATED
_UPDATED = EventKind.EVENT_KIND_SESSION_UPDATED
_LABELS_SET = frozenset({_CREATED, _UPDATED})
# One event is looked for at a time.
_PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WantedEvents:
    """Lets through, of what one follower reads from its position on, what it asked for."""

    rows: EventRows
    kinds: frozenset[int]
    session_ids: Collection[str]
    labels: Mapping[str, str]
    _matches: dict[int, bool]

    @classmethod
    def of(
        cls, rows: EventRows, *, kinds: Collection[int], session_ids: Collection[str], labels: Mapping[str, str]
    ) -> "WantedEvents":
        """All of it empty: everything."""
        return cls(rows, frozenset(kinds), frozenset(session_ids), dict(labels), {})

    @property
    def read_kinds(self) -> frozenset[int]:
        """Kinds to read: with labels, also those that set them."""
        return self.kinds | _LABELS_SET if self.kinds and self.labels else self.kinds

    async def among(self, stored: Sequence[StoredRow]) -> list[StoredRow]:
        """What is wanted of consecutive rows; each is shown once, in stored order."""
        named = [item for item in stored if not self.session_ids or item.key[1] in self.session_ids]
        if not self.labels:
            return named
        await self._learn(named)
        return list(self._labelled(named))

    def _labelled(self, named: Sequence[StoredRow]) -> Iterator[StoredRow]:
        for item in named:
            row = item.row
            if row.kind in _LABELS_SET:
                self._matches[row.log_key] = self._fits(row)
            if self._matches[row.log_key] and (not self.kinds or row.kind in self.kinds):
                yield item

    async def _learn(self, named: Sequence[StoredRow]) -> None:
        """Look up the labels of logs of which something else than labels comes first."""
        first: dict[int, EventRow] = {}
        for item in named:
            first.setdefault(item.row.log_key, item.row)
        for log_key, row in first.items():
            if log_key not in self._matches and row.kind not in _LABELS_SET:
                page = await self.rows.read(
                    log_key,
                    after=0,
                    upto=row.seq - 1,
                    limit=1,
                    limit_bytes=_PAGE_BYTES,
                    kinds=_LABELS_SET,
                    descending=True,
                )
                self._matches[log_key] = bool(page.rows) and self._fits(page.rows[0])

    def _fits(self, row: EventRow) -> bool:
        event = SessionCreated if row.kind == _CREATED else SessionUpdated
        found = {label.key: label.value for label in event.FromString(row.payload).labels}
        return self.labels.items() <= found.items()
