"""Note what logs of the release before name: theirs was stored without (migration 0003)."""

import asyncio
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from event_store.gateways.event_rows import EventRows
from event_store.gateways.references import NOTED_KINDS, Noted, Unnoted, UnnotedLog

log = structlog.get_logger()

# Events of one page.
_PAGE_EVENTS = 500
_PAGE_BYTES = 4 * 1024 * 1024
# How long to wait for a database that does not answer, or that another replica works on, seconds.
_RETRY_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class NoteReferences:
    """Goes through them once; each is noted whole or not at all. Garbage is collected only after the last."""

    unnoted: Unnoted
    rows: EventRows

    async def __call__(self) -> None:
        """Until none is left."""
        while True:
            try:
                found = await self.unnoted.some()
                for item in found:
                    events = await self._events(item)
                    if await self.unnoted.note(item, events):
                        log.info("references noted", log_key=item.log_key, events=len(events))
            except SQLAlchemyError as error:
                log.warning("references are noted later", error=repr(error))
                await asyncio.sleep(_RETRY_WAIT_S)
            else:
                if not found:
                    return

    async def _events(self, item: UnnotedLog) -> list[Noted]:
        events: list[Noted] = []
        after, complete = 0, False
        while not complete:
            page = await self.rows.read(
                item.log_key,
                after=after,
                upto=item.head_seq,
                limit=_PAGE_EVENTS,
                limit_bytes=_PAGE_BYTES,
                kinds=NOTED_KINDS,
            )
            events += [Noted(item.log_key, row.kind, row.payload) for row in page.rows]
            after, complete = page.rows[-1].seq if page.rows else after, page.complete
        return events
