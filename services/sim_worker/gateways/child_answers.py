"""What a child was asked and has not answered yet."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from milepost.child.v1.child_pb2 import FromChild, Refused


@dataclass(eq=False)
class ChildRefused(Exception):
    """The child will not do it; nothing was changed."""

    message: str
    field: str = ""

    def __str__(self) -> str:
        return self.message


class ChildGone(Exception):
    """The process ended before it answered."""


class Answers:
    """Questions by the ids that their answers name. Every question is answered or fails with ChildGone."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._asked = 0
        self._gone = False

    def new_id(self) -> str:
        """An id that no command and no snapshot of a client has."""
        self._asked += 1
        return f"?{self._asked}"

    @contextmanager
    def expecting(self, request_id: str) -> Iterator[asyncio.Future[Any]]:
        """The answer to come; await it within. Awaiting raises ChildRefused, ChildGone."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._gone:
            answer.set_exception(ChildGone())
        self._waiting[request_id] = answer
        try:
            yield answer
        finally:
            del self._waiting[request_id]

    def take(self, message: FromChild) -> bool:
        """Whether the message was an answer to a question of this side."""
        match message.WhichOneof("message"):
            case "described":
                return self.resolve(message.described.request_id, message.described.state)
            case "checked":
                return self.resolve(message.checked.request_id, message.checked)
            case "state_written":
                return self.resolve(message.state_written.request_id, message.state_written)
            case "refused":
                return self._refuse(message.refused)
        return False

    def resolve(self, request_id: str, value: object) -> bool:
        """Give the answer; False when nobody waits for it."""
        answer = self._waiting.get(request_id)
        if answer is None or answer.done():
            return False
        answer.set_result(value)
        return True

    def fail(self) -> None:
        """Nothing more will be answered."""
        self._gone = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ChildGone())

    def _refuse(self, refused: Refused) -> bool:
        answer = self._waiting.get(refused.command_id)
        if answer is None or answer.done():
            return False
        answer.set_exception(ChildRefused(refused.message, refused.field))
        return True
