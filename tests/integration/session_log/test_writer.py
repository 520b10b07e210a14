"""Appending under the fence (log.md R1-R3), on a real broker that is killed in the middle."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from nats.js import JetStreamContext

from broker import Broker
from milepost.event.v1.event_pb2 import LogLine
from milepost.event.v1.record_pb2 import Record
from runtime.broker import connect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import LogMessage, events, record
from session_log.writer import LogFull, LogWriter, LostRace, Place


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await client.close()


def lines(*texts: str) -> list[Record]:
    return [record(LogLine(text=text)) for text in texts]


def writer(js: JetStreamContext, place: Place = Place(), session: str = "s") -> LogWriter:
    return LogWriter(js, tenant="t", session_id=session, place=place, nonce=uuid.uuid4().hex)


async def whole_log(js: JetStreamContext, session: str = "s") -> list[LogMessage]:
    return await read_tail(js, "t", session, after_stream_seq=0)


def texts(log: list[LogMessage]) -> list[str]:
    return [event.log_line.text for message in log for event in events("s", message)]


def assert_gap_free(log: list[LogMessage]) -> None:
    seqs = [event.seq for message in log for event in events("s", message)]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_numbers_follow_each_other_and_the_place_moves(js: JetStreamContext) -> None:
    appending = writer(js)
    await appending.append(lines("a", "b"), run=1, attempt=1)
    place = await appending.append(lines("c"), run=1, attempt=1)
    log = await whole_log(js)
    assert (texts(log), place.seq, place.stream_seq) == (["a", "b", "c"], 3, log[-1].stream_seq)
    assert_gap_free(log)


async def test_the_fence_is_the_sequence_of_the_stream_not_of_the_session(js: JetStreamContext) -> None:
    mine, other = writer(js), writer(js, session="other")
    for n in range(3):
        await other.append(lines(f"o{n}"), run=1, attempt=1)
        await mine.append(lines(f"m{n}"), run=1, attempt=1)
    assert mine.place == Place(stream_seq=6, seq=3)


async def test_of_two_writers_at_one_place_exactly_one_wins(js: JetStreamContext) -> None:
    contenders = [writer(js) for _ in range(8)]
    results = await asyncio.gather(
        *(one.append(lines(str(n)), run=1, attempt=1) for n, one in enumerate(contenders)), return_exceptions=True
    )
    log = await whole_log(js)
    assert len(log) == 1
    winners = [n for n, result in enumerate(results) if isinstance(result, Place)]
    losers = [result for result in results if isinstance(result, LostRace)]
    assert texts(log) == [str(winners[0])]
    assert (len(winners), len(losers)) == (1, 7)
    assert all(texts(loser.newer) == texts(log) for loser in losers)


async def test_a_writer_that_was_overtaken_appends_after_folding_what_came_between(js: JetStreamContext) -> None:
    slow, quick = writer(js), writer(js)
    await quick.append(lines("first"), run=1, attempt=1)
    with pytest.raises(LostRace) as lost:
        await slow.append(lines("second"), run=1, attempt=2)
    slow.place = slow.place.after(lost.value.newer[-1])
    await slow.append(lines("second"), run=1, attempt=2)
    log = await whole_log(js)
    assert texts(log) == ["first", "second"]
    assert_gap_free(log)


async def test_a_writer_that_woke_up_too_late_can_write_nothing(js: JetStreamContext) -> None:
    stale = writer(js)
    await stale.append(lines("mine"), run=1, attempt=1)
    successor = writer(js, stale.place)
    await successor.append(lines("theirs"), run=1, attempt=2)
    for _ in range(3):
        with pytest.raises(LostRace):
            await stale.append(lines("too late"), run=1, attempt=1)
    assert texts(await whole_log(js)) == ["mine", "theirs"]


async def test_an_append_whose_answer_was_lost_is_found_again_and_stands_once(
    js: JetStreamContext, broker: Broker
) -> None:
    """The broker stops answering after it has the message: time-outs, the same bytes again, one event."""
    appending = writer(js)
    await appending.append(lines("a"), run=1, attempt=1)
    broker.pause()
    under_way = asyncio.create_task(appending.append(lines("b"), run=1, attempt=1))
    # Longer than a request's time-out: the first try is unclear, its bytes wait in the broker's socket.
    done, _ = await asyncio.wait({under_way}, timeout=3.5)
    assert not done
    broker.go_on()
    place = await asyncio.wait_for(under_way, 20)
    await appending.append(lines("c"), run=1, attempt=1)
    log = await whole_log(js)
    assert texts(log) == ["a", "b", "c"]
    assert place == Place(stream_seq=2, seq=2)
    assert_gap_free(log)


async def test_killing_the_broker_under_writers_loses_and_doubles_nothing(js: JetStreamContext, broker: Broker) -> None:
    count = 150

    async def write(session: str) -> None:
        appending = writer(js, session=session)
        for n in range(count):
            await appending.append(lines(f"{session}-{n}"), run=1, attempt=1)

    sessions = [f"s{n}" for n in range(4)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for session in sessions:
            tasks.create_task(write(session))
        for _ in range(3):
            before = (await js.stream_info("SESSIONS")).state.last_seq
            while (await js.stream_info("SESSIONS")).state.last_seq < before + 40:
                await asyncio.sleep(0.01)
            await broker.restart()
            while not js._nc.is_connected:
                await asyncio.sleep(0.01)
    for session in sessions:
        log = await whole_log(js, session)
        assert texts(log) == [f"{session}-{n}" for n in range(count)]
        assert_gap_free(log)


async def test_a_full_broker_is_back_pressure_and_creating_is_refused(broker: Broker) -> None:
    client = await connect(broker.url, name="test", appends=True)
    full = jetstream(client)
    await ensure_streams(full, log_max_bytes=4096)
    appending = writer(full)
    with pytest.raises(LogFull):
        for _ in range(100):
            await appending.append(lines("x" * 200), run=1, attempt=1, wait_when_full=False)
    waiting = asyncio.create_task(appending.append(lines("later"), run=1, attempt=1))
    done, _ = await asyncio.wait({waiting}, timeout=1.2)
    assert not done, "a running session waits for room"
    await full.purge_stream("SESSIONS", subject="milepost.log.t.s", seq=appending.place.stream_seq)
    await asyncio.wait_for(waiting, 10)
    await client.close()


async def test_the_last_message_stays_as_the_fence_when_a_log_is_purged(js: JetStreamContext) -> None:
    appending = writer(js)
    for text in "abc":
        await appending.append(lines(text), run=1, attempt=1)
    await js.purge_stream("SESSIONS", subject="milepost.log.t.s", seq=appending.place.stream_seq)
    with pytest.raises(LostRace):
        await writer(js).append(lines("a second beginning"), run=1, attempt=1)
    await appending.append(lines("d"), run=1, attempt=1)
    assert texts(await whole_log(js)) == ["c", "d"]
