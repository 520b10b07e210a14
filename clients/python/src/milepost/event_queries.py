"""Questions to many logs at once: KPIs over simulated time, and tables for other programs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import grpc

from milepost.connection import Backoff, Connection
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.event.v1.export_pb2 import ExportEventsRequest
from milepost.event.v1.metrics_pb2 import Aggregation, QueryMetricsRequest, QueryMetricsResponse, SessionStatistic
from milepost.event.v1.session_set_pb2 import SessionSet
from milepost.exceptions import Unavailable, from_rpc_error

# What a question may take, s: a thousand sessions of an hour take half a minute.
QUESTION_TIMEOUT_S = 300.0
# How often a table is begun that breaks off each time: it may be too long for the connection.
TABLE_TRIES = 5


class EventQueries:
    """The verbs of EventService that ask about sets of sessions. Every failure is a MilepostError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = EventServiceStub(connection.channel)

    async def metrics(
        self,
        metrics: Sequence[str],
        *,
        session_ids: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        run: int = 0,
        begin_time_s: float | None = None,
        end_time_s: float | None = None,
        bucket_s: float | None = None,
        by_phase: bool = False,
        aggregation: Aggregation.ValueType = Aggregation.AGGREGATION_UNSPECIFIED,
        across: Sequence[SessionStatistic.ValueType] = (),
        timeout_s: float = QUESTION_TIMEOUT_S,
    ) -> QueryMetricsResponse:
        """KPIs over simulated time: in buckets of `bucket_s`, per phase of the plan, or as recorded with neither.

        Of the sessions named, those with all the labels, or all; each its own series, or the statistics `across` them.
        Raises ValueError when both kinds of buckets are asked for.
        """
        if bucket_s is not None and by_phase:
            raise ValueError("say bucket_s or by_phase, not both")
        request = QueryMetricsRequest(
            sessions=SessionSet(session_ids=session_ids, labels=labels),
            metrics=metrics,
            run=run,
            begin_time_s=begin_time_s,
            end_time_s=end_time_s,
            aggregation=aggregation,
            across=across,
        )
        if bucket_s is not None:
            request.bucket_s = bucket_s
        if by_phase:
            request.by_phase = True
        return await self._connection.call(
            lambda left_s: self._stub.QueryMetrics(request, timeout=max(left_s, timeout_s))
        )

    async def export(self, request: ExportEventsRequest) -> AsyncIterator[bytes]:
        """A table of events or of KPIs, piece by piece. A broken connection raises: begin again, or use `export_to`."""
        call = self._stub.ExportEvents(request)
        try:
            async for response in call:
                yield response.content
        except grpc.aio.AioRpcError as broken:
            raise from_rpc_error(broken) from None
        finally:
            call.cancel()

    async def export_to(self, path: Path, request: ExportEventsRequest) -> int:
        """`export` into a file that is replaced as a whole at the end; its size, bytes.

        Begins again after a broken connection, at most TABLE_TRIES times in all, and gives up as calls do.
        """
        partial = path.with_name(f".{path.name}.part")
        backoff = Backoff(self._connection.retry_for_s)
        tries = 0
        try:
            while True:
                tries += 1
                try:
                    with partial.open("wb") as file:
                        async for piece in self.export(request):
                            file.write(piece)
                            backoff.succeeded()
                        size_bytes = file.tell()
                    partial.replace(path)
                    return size_bytes
                except Unavailable as error:
                    if tries == TABLE_TRIES:
                        raise
                    await backoff.wait(error)
        finally:
            partial.unlink(missing_ok=True)
