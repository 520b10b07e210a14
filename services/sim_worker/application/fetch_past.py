"""Read what an attempt begins with: the past from the log, and a fork's from its blob."""

import asyncio
from dataclasses import dataclass

import grpc
import structlog

from milepost.event.v1.event_pb2 import ForkPast, SessionCreated
from milepost.session.v1.session_pb2 import Failure, FailureReason
from runtime.blobs import BlobCorrupt, BlobMissing, Blobs
from session_log.fold_past import past_of
from session_log.past import Past
from session_log.reader import LogReader
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.prepare_scene import SceneFailed

log = structlog.get_logger()

# A journal of a hundred thousand interventions stays below it.
MAX_FORK_PAST_BYTES = 64 * 1024 * 1024
_RETRY_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class FetchPast:
    """Waits while the store does not answer."""

    reader: LogReader
    blobs: Blobs

    async def __call__(self, attempt: AttemptLog) -> tuple[Past, ForkPast]:
        """The past of the session's present run. Raises SceneFailed."""
        fork, known = await asyncio.gather(
            self.fork_past(attempt.created), self.reader.past_events(attempt.tenant, attempt.session_id)
        )
        return past_of([event for event in known if event.seq <= attempt.seq], attempt.life.run, fork), fork

    async def fork_past(self, created: SessionCreated) -> ForkPast:
        """What SessionCreated holds or names; empty for a session that is no fork. Raises SceneFailed."""
        if created.HasField("fork_past"):
            return created.fork_past
        if not created.HasField("forked_from"):
            return ForkPast()
        sha256 = created.forked_from.past_sha256
        while True:
            try:
                return ForkPast.FromString(await self.blobs.get_bytes(sha256, limit_bytes=MAX_FORK_PAST_BYTES))
            except (BlobMissing, BlobCorrupt) as error:
                reason = FailureReason.FAILURE_REASON_SCENARIO_UNAVAILABLE
                message = f"the store has lost {sha256}, the past this session was forked from"
                raise SceneFailed(Failure(reason=reason, message=message)) from error
            except grpc.aio.AioRpcError as error:
                log.warning("the past waits for the store", status=error.code().name)
                await asyncio.sleep(_RETRY_WAIT_S)
