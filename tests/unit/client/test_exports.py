"""Exports over a connection that breaks: a file is whole or is not there."""

import grpc
import pytest
from refusal import Refusal

from milepost.event.v1.event_service_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from milepost.event.v1.export_pb2 import ExportEventsRequest, ExportEventsResponse
from milepost.exceptions import NotFound, Unavailable

PIECES = [b"first", b"second", b"third"]


class Breaking(EventServiceServicer):
    """Breaks off after the first piece as often as it has refusals, then tells the whole table."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = list(refusals)

    async def ExportEvents(self, request, context):  # noqa: N802
        for piece in PIECES:
            yield ExportEventsResponse(content=piece)
            if self.refusals:
                await self.refusals.pop(0).send(context)


def away() -> Refusal:
    return Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_a_broken_export_begins_again_and_leaves_one_whole_file(connect, tmp_path):
    client = await connect(lambda server: add_EventServiceServicer_to_server(Breaking(away(), away()), server))
    size_bytes = await client.events.export_to(tmp_path / "table", ExportEventsRequest(format=1))
    assert (tmp_path / "table").read_bytes() == b"".join(PIECES)
    assert size_bytes == len(b"".join(PIECES))
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


async def test_a_refused_export_leaves_what_was_there(connect, tmp_path):
    (tmp_path / "table").write_text("older")
    refused = Refusal(grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
    client = await connect(lambda server: add_EventServiceServicer_to_server(Breaking(refused), server))
    with pytest.raises(NotFound):
        await client.events.export_to(tmp_path / "table", ExportEventsRequest(format=1))
    assert (tmp_path / "table").read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


async def test_pieces_are_given_out_until_the_connection_breaks(connect):
    client = await connect(lambda server: add_EventServiceServicer_to_server(Breaking(away()), server))
    pieces = client.events.export(ExportEventsRequest(format=1))
    assert await anext(pieces) == PIECES[0]
    with pytest.raises(Unavailable):
        await anext(pieces)


async def test_an_export_that_always_breaks_is_given_up(connect, tmp_path):
    client = await connect(
        lambda server: add_EventServiceServicer_to_server(Breaking(*(away() for _ in range(50))), server)
    )
    with pytest.raises(Unavailable):
        await client.events.export_to(tmp_path / "table", ExportEventsRequest(format=1))
    assert list(tmp_path.iterdir()) == []
