"""Where sessions come from and what became of them: the tree of forks a session stands in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from milepost.exceptions import NotFound
from milepost.session.v1.session_pb2 import Session

# Sessions of one tree that are looked up.
MAX_SESSIONS = 1000


@dataclass(slots=True)
class Family:
    """A session and its forks, oldest first; `session` is None when it is gone for good or was not looked up."""

    session_id: str
    session: Session | None = None
    forks: list["Family"] = field(default_factory=list)


async def family_of(session_id: str, look_up: Callable[[str], Awaitable[Session]]) -> Family:
    """The whole tree a session stands in, from its first ancestor that is still there.

    Raises NotFound for the session itself, and the MilepostError of any other failure.
    """
    root = await look_up(session_id)
    known = {session_id: root}
    while root.forked_from.session_id and root.forked_from.session_id not in known and len(known) < MAX_SESSIONS:
        try:
            root = await look_up(root.forked_from.session_id)
        except NotFound:
            break
        known[root.session_id] = root
    family = Family(root.session_id)
    waiting, seen = [family], 0
    while waiting:
        one = waiting.pop(0)
        seen += 1
        if seen > MAX_SESSIONS:
            continue
        try:
            one.session = known.get(one.session_id) or await look_up(one.session_id)
        except NotFound:
            continue
        one.forks = [Family(fork_id) for fork_id in one.session.forks]
        waiting += one.forks
    return family
