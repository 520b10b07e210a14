"""The work queue as a worker pulls from it: fair between tenants and classes, and at once awake (log.md R8).

    slots free ─► how do the lines stand?  one request: every consumer with what waits and what runs
                  ├ something waits ─► ask in turn, each line at once or not at all
                  └ nothing waits ───► an open pull at every line that has sessions running: an order whose lease
                                       is over, or that was handed over, comes there by itself
                                     + ears on the pool's subjects: a new order opens a pull at its line

All pulls share one inbox, which lives as long as the worker: an order that comes when nobody waits any more is given
back at once instead of lying there until its lease is over.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from runtime.broker import REQUEST_TIMEOUT_S, binding, subject
from runtime.turns import Standing, Turns
from runtime.work_queue import Line

# How long an open pull waits for an order, and how often the lines are looked at anew meanwhile, seconds.
_PULL_S = 5.0
_LOOK_AGAIN_S = 2.5
# How long a line that had no order to come again is not asked while others have new ones, seconds.
_EMPTY_S = 1.0
# How long the broker may take to say how the lines stand, seconds: longer than a cluster waits for its members.
_LOOK_TIMEOUT_S = 6.0
# The broker's page of consumers.
_PAGE = 256
_STREAM = binding(WorkOrder).stream
_NANOSECONDS = 1_000_000_000


@dataclass(slots=True)
class OrderQueue:
    """The orders of a pool. Enter `listening`, then ask for the `next`."""

    broker: Client
    pool: str
    monotonic: Callable[[], float] = time.monotonic
    _turns: Turns = field(default_factory=Turns)
    _empty_until: dict[Line, float] = field(default_factory=dict)
    _inbox: str = ""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    # Deliveries, subjects of answers without one, and None for a new order somewhere.
    _heard: asyncio.Queue[Msg | str | None] = field(default_factory=asyncio.Queue)
    # Lines that had a new order since they were last pulled from; until when a pull is open at a line.
    _news: set[Line] = field(default_factory=set)
    _open_until: dict[Line, float] = field(default_factory=dict)
    _waited_for: bool = False

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear answers and new orders while the body runs; what comes too late is given back."""
        self._inbox = self.broker.new_inbox()
        orders = subject(WorkOrder, pool=self.pool, **{"class": "*"}, tenant="*", session="*")
        answers = await self.broker.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        news = await self.broker.subscribe(orders, cb=self._on_order)
        try:
            yield
        finally:
            for subscription in (news, answers):
                with contextlib.suppress(nats.errors.Error):
                    await subscription.unsubscribe()

    async def next(self) -> Msg | None:
        """The next order in turn; None when there was none for a while. Raises what nats-py raises.

        Of one caller at a time. Cancelled, it leaves open pulls: what they bring is given back.
        """
        self._waited_for = True
        try:
            standings = await self._look()
            return await self._ask_in_turn(standings) or await self._wait(standings)
        finally:
            self._waited_for = False
            await self._give_back()

    async def _look(self) -> dict[Line, Standing]:
        """How the lines of this pool stand."""
        js = self.broker.jetstream(timeout=_LOOK_TIMEOUT_S)
        found: dict[Line, Standing] = {}
        for offset in itertools.count(0, _PAGE):
            page = await js.consumers_info(_STREAM, offset)
            for info in page:
                line = Line.of_subject(info.config.filter_subject or "")
                if line is not None and line.pool == self.pool:
                    waiting, running = info.num_pending or 0, info.num_ack_pending or 0
                    found[line] = Standing(line.tenant, line.work_class, waiting, running)
            if len(page) < _PAGE:
                return found
        raise AssertionError("count never ends")

    async def _ask_in_turn(self, standings: dict[Line, Standing]) -> Msg | None:
        """An order of the first line in turn that has one. Where nothing waits, none is asked."""
        if not any(standing.waiting for standing in standings.values()):
            return None
        now = self.monotonic()
        lines = {standing: line for line, standing in standings.items()}
        in_turn = self._turns.in_order(lines)
        # Whether an order has to come again only asking can tell; what ran already goes on first.
        again = [one for one in in_turn if not one.waiting and self._empty_until.get(lines[one], 0.0) <= now]
        for standing in (*(one for one in again if one.running), *(one for one in in_turn if one.waiting)):
            line = lines[standing]
            order = await self._ask(line)
            if order is not None:
                self._took(order)
                return order
            self._empty_until[line] = now + _EMPTY_S
        return None

    async def _ask(self, line: Line) -> Msg | None:
        """An order of a line, if it has one right now."""
        reply = await self._pull(line, no_wait=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                while (heard := await self._heard.get()) != reply:
                    if isinstance(heard, Msg):
                        return heard
        return None

    async def _wait(self, standings: dict[Line, Standing]) -> Msg | None:
        """The first order that comes anywhere."""
        for line, standing in standings.items():
            if standing.waiting or standing.running:
                await self._keep_open(line)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                while True:
                    while self._news:
                        # Its consumer was there before the order was.
                        await self._keep_open(self._news.pop())
                    heard = await self._heard.get()
                    if isinstance(heard, Msg):
                        self._took(heard)
                        return heard
        return None

    async def _keep_open(self, line: Line) -> None:
        """Have a pull open at a line until the next look."""
        now = self.monotonic()
        if self._open_until.get(line, 0.0) < now + _LOOK_AGAIN_S:
            self._open_until[line] = now + _PULL_S
            await self._pull(line, expires=int(_PULL_S * _NANOSECONDS))

    def _took(self, order: Msg) -> None:
        line = _line_of(order)
        self._turns.took(Standing(line.tenant, line.work_class, 0, 0))
        self._empty_until.pop(line, None)

    async def _pull(self, line: Line, **how: Any) -> str:
        """Ask for one order of a line; the subject an answer without one comes on."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        name = f"$JS.API.CONSUMER.MSG.NEXT.{_STREAM}.{line.consumer}"
        await self.broker.publish(name, json.dumps({"batch": 1, **how}).encode(), reply)
        return reply

    async def _on_answer(self, message: Msg) -> None:
        if JetStreamContext.is_status_msg(message):
            # Told by their subject; an order has its own.
            self._heard.put_nowait(message.subject)
        else:
            self._open_until.pop(_line_of(message), None)
            self._heard.put_nowait(message)
        if not self._waited_for:
            await self._give_back()

    async def _on_order(self, message: Msg) -> None:
        # Remembered also while nobody waits: it may be heard before it is stored, and be missed by the next look.
        self._news.add(_line_of(message))
        if self._waited_for:
            self._heard.put_nowait(None)

    async def _give_back(self) -> None:
        """Let other workers have what came and nobody waits for."""
        while not self._waited_for and not self._heard.empty():
            heard = self._heard.get_nowait()
            if isinstance(heard, Msg):
                with contextlib.suppress(nats.errors.Error):
                    await heard.nak()


def _line_of(order: Msg) -> Line:
    line = Line.of_subject(order.subject)
    assert line is not None
    return line
