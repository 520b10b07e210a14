"""A call that is made by who may and by who may not, and what becomes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from belongings import Belongings
from google.protobuf.message import Message
from guarded_stack import CALL_S, Outcome

# How long the owner of a session waits for a worker, of which there is none, seconds.
ACCEPTED_S = 5.0


@dataclass(frozen=True)
class Row:
    """What is asked, and what becomes of it: `foreign` for who may not see it, `owner` for who may."""

    request: Callable[[Belongings], Message | Sequence[Message]]
    foreign: Callable[[Outcome], bool]
    owner: Callable[[Outcome], bool]
    patience_s: float = CALL_S
    destroys: bool = False
    """What the owner's other calls are about: asked when they have been answered."""
    open: bool = False
    """Asks for no token, and so has nothing of any tenant to tell."""

    def requests(self, belongings: Belongings) -> Sequence[Message]:
        made = self.request(belongings)
        return [made] if isinstance(made, Message) else made


def refused(reason: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.reason == reason


def unseen(reason: str, code: grpc.StatusCode = grpc.StatusCode.NOT_FOUND) -> Callable[[Outcome], bool]:
    return lambda outcome: (outcome.code, outcome.reason) == (code, reason)


def answered(check: Callable[[Any], object]) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.code is grpc.StatusCode.OK and bool(check(outcome.response))


def of_session(request: Callable[[str], Message]) -> Row:
    """A request that names a session: whoever may see it is told anything but that it does not exist."""
    return Row(
        lambda its: request(its.session_id),
        unseen("SESSION_NOT_FOUND"),
        lambda outcome: outcome.reason != "SESSION_NOT_FOUND" and outcome.code in _KNOWN,
        patience_s=ACCEPTED_S,
    )


_KNOWN = {
    grpc.StatusCode.OK,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,  # CHECKPOINT_NOT_FOUND
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,  # NO_WORKER
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INVALID_ARGUMENT,
}


def of_study(request: Callable[[str], Message], check: Callable[[Any], object]) -> Row:
    """A request that names a study."""
    return Row(lambda its: request(its.study_id), unseen("STUDY_NOT_FOUND"), answered(check))
