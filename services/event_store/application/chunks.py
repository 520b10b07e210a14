"""Chunks of a log, read and encoded once for all who want the same one.

Watchers that are level with a log all ask for what follows the same seq: the first one reads and encodes it, the
others get the same bytes. So do watchers that come late and read the same history.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from prometheus_client import Counter

from event_store.application.phases import Window
from event_store.gateways.event_bytes import watch_response
from event_store.gateways.event_rows import EventRows

_made = Counter("milepost_watch_chunks_made_total", "Chunks read and encoded")
_shared = Counter("milepost_watch_chunks_shared_total", "Chunks that another watcher had made")

# Largest chunk: events, and bytes. A message stays below 1 MiB. gRPC holds one or two for a watcher that does not
# read; half as much doubles the time of those who catch up.
CHUNK_EVENTS = 2000
CHUNK_BYTES = 256 * 1024
# All chunks kept for sharing, bytes; what one costs beside its response.
CACHE_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES = 500

Kinds = frozenset[int]
_Key = tuple[int, int, Kinds, Window | None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events of a log with after < seq <= last_seq; `response` is empty when the filter lets none through.

    `full`: it ends where it does because it is large, not because the log ended there.
    """

    last_seq: int
    response: bytes
    full: bool

    @property
    def cost_bytes(self) -> int:
        """What keeping it takes."""
        return len(self.response) + _ENTRY_BYTES


class Chunks:
    """Makes chunks and keeps the latest."""

    def __init__(self, rows: EventRows) -> None:
        self._rows = rows
        self._kept: OrderedDict[_Key, Chunk] = OrderedDict()
        self._kept_bytes = 0
        self._making: dict[tuple[_Key, int], asyncio.Task[Chunk]] = {}

    async def get(
        self,
        session_id: str,
        log_key: int,
        *,
        after: int,
        head_seq: int,
        kinds: Kinds,
        window: Window | None = None,
    ) -> Chunk:
        """The chunk that follows `after`, as far as the head known to the caller, or further.

        With a window, which the caller asks for up to its end and no further, it holds nothing that lies outside.
        """
        # Whoever sees the window under way shares with nobody who knows its end, or who asks for all.
        key = (log_key, after, kinds, window)
        kept = self._kept.get(key)
        if kept is not None and (kept.full or kept.last_seq >= head_seq):
            self._kept.move_to_end(key)
            _shared.inc()
            return kept
        making = self._making.get((key, head_seq))
        if making is None:
            making = asyncio.create_task(self._make(session_id, key, head_seq), name="chunk")
            self._making[key, head_seq] = making
        else:
            _shared.inc()
        # Shielded: the watcher that asked first may leave, the others still want it.
        return await asyncio.shield(making)

    def forget(self, log_key: int) -> None:
        """Keep nothing of a log: its key may become another's."""
        for key in [key for key in self._kept if key[0] == log_key]:
            self._kept_bytes -= self._kept.pop(key).cost_bytes

    async def _make(self, session_id: str, key: _Key, head_seq: int) -> Chunk:
        log_key, after, kinds, _ = key
        try:
            found = await self._rows.read_frames(
                log_key, after=after, upto=head_seq, limit=CHUNK_EVENTS, limit_bytes=CHUNK_BYTES, kinds=kinds
            )
        finally:
            del self._making[key, head_seq]
        _made.inc()
        chunk = Chunk(
            last_seq=found.last_seq,
            response=watch_response(found.frames) if found.frames else b"",
            full=not found.complete,
        )
        self._keep(key, chunk)
        return chunk

    def _keep(self, key: _Key, chunk: Chunk) -> None:
        known = self._kept.get(key)
        if known is not None and known.last_seq >= chunk.last_seq:
            return
        if known is not None:
            self._kept_bytes -= known.cost_bytes
        self._kept[key] = chunk
        self._kept.move_to_end(key)
        self._kept_bytes += chunk.cost_bytes
        while self._kept_bytes > CACHE_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.cost_bytes
