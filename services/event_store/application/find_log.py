"""Find a log that a caller names, and a place in it: what is not stored yet may be on the broker (log.md R13)."""

import asyncio
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from event_store.application.heads import Heads
from event_store.gateways.deletions import Deletions
from event_store.gateways.event_rows import EventRows, Head
from event_store.gateways.log_stream import last_seq_of
from milepost.errors.v1 import errors_pb2
from runtime.broker import is_token, jetstream
from runtime.errors import CallRefused

# How long to wait for ingestion before a caller is told to come again, seconds.
INGESTION_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class FindLog:
    """Answers with a head that is at least where the caller's cursor stands."""

    rows: EventRows
    heads: Heads
    broker: Client
    deletions: Deletions

    async def __call__(self, tenant: str, session_id: str, *, cursor: int = 0) -> Head:
        """Raises CallRefused: SESSION_NOT_FOUND, NOT_STORED_YET, CURSOR_BEYOND_HEAD."""
        head = await self.rows.head(tenant, session_id) if is_token(session_id) else None
        if head is not None and cursor <= head.head_seq:
            return head
        ends_at = head.head_seq if head else 0
        # What the broker has of a deleted session is its fence, no log (R4).
        if is_token(session_id) and (head is not None or not await self.deletions.is_gone(tenant, session_id)):
            ends_at = max(ends_at, await self._end_on_broker(tenant, session_id))
        if not ends_at:
            raise CallRefused(
                errors_pb2.ERROR_REASON_SESSION_NOT_FOUND,
                f"no session {session_id!r}",
                metadata={"session_id": session_id},
            )
        if cursor > ends_at:
            raise CallRefused(
                errors_pb2.ERROR_REASON_CURSOR_BEYOND_HEAD,
                f"the log of {session_id!r} ends at {ends_at}",
                metadata={"head_seq": str(ends_at)},
            )
        return await self._ingested(tenant, session_id, at_least=max(cursor, 1))

    async def _ingested(self, tenant: str, session_id: str, *, at_least: int) -> Head:
        """The head once ingestion has brought what the broker has."""
        kick = asyncio.Event()
        try:
            with self.heads.watching((tenant, session_id), kick) as watched:
                async with asyncio.timeout(INGESTION_WAIT_S):
                    while watched.head is None or watched.head.head_seq < at_least:
                        await kick.wait()
                        kick.clear()
                    return watched.head
        except TimeoutError as error:
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_STORED_YET,
                f"the broker is ahead of the store for {session_id!r}",
                retry_after_s=1.0,
            ) from error

    async def _end_on_broker(self, tenant: str, session_id: str) -> int:
        """Seq of the last event the broker holds; 0 when it holds none."""
        try:
            return await last_seq_of(jetstream(self.broker), tenant, session_id)
        except (NotFoundError, ValueError):
            return 0
        except nats.errors.Error as error:
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_STORED_YET,
                f"{session_id!r} is not stored as far, and the broker does not answer",
                retry_after_s=1.0,
            ) from error


def require_kept(head: Head, cursor: int) -> None:
    """Raises CallRefused(CURSOR_TOO_OLD) when what follows the cursor is not kept any more."""
    if cursor + 1 < head.oldest_seq:
        raise CallRefused(
            errors_pb2.ERROR_REASON_CURSOR_TOO_OLD,
            f"events up to {head.oldest_seq - 1} are not kept any more",
            metadata={"oldest_seq": str(head.oldest_seq)},
        )
