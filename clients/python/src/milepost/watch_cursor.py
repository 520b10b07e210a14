"""Where a watcher stands in a session's log, over any number of connections. Pure.

The cursor is the `seq` of the last event given out or, when only some kinds are watched, of the last one the
server says it has passed. An event at or before it was given out on an earlier connection.
"""

from collections.abc import Iterator

from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import CaughtUp, FellBehind, Heartbeat, Terminal, WatchEventsResponse
from milepost.event.v1.frame_pb2 import Frame
from milepost.exceptions import LogGapError

WatchItem = Event | CaughtUp | FellBehind | Heartbeat | Frame | Terminal


class WatchCursor:
    """Turns the messages of a watch into items; `seq` is where to ask again after a break.

    `filtered`: only some kinds are watched, so that a hole in the numbers is none in the log.
    """

    def __init__(self, session_id: str, after_seq: int, *, filtered: bool) -> None:
        self.seq = after_seq
        self._session_id = session_id
        self._filtered = filtered

    def items(self, message: WatchEventsResponse) -> Iterator[WatchItem]:
        """What a message gives its reader, without what was given before.

        The cursor moves as the items are taken. Raises LogGapError when the log was watched whole and an
        event is missing.
        """
        match message.WhichOneof("message"):
            case "events":
                for event in message.events.events:
                    if event.seq > self.seq:
                        self._reach(event.seq, seen=event.seq - 1)
                        yield event
            case "caught_up":
                self._reach(message.caught_up.seq, seen=message.caught_up.seq)
                yield message.caught_up
            case "fell_behind":
                yield message.fell_behind
            case "heartbeat":
                self._reach(message.heartbeat.sent_seq, seen=message.heartbeat.sent_seq)
                yield message.heartbeat
            case "frame":
                yield message.frame
            case "terminal":
                self._reach(message.terminal.seq, seen=message.terminal.seq)
                yield message.terminal
            case "hello" | None:
                # Hello repeats what was asked; a message of a later version is no business of this one.
                return

    def _reach(self, seq: int, *, seen: int) -> None:
        """The log up to `seq` is behind this watcher, who must have been given it up to `seen`."""
        if not self._filtered and seen > self.seq:
            raise LogGapError(self._session_id, expected_seq=self.seq + 1, actual_seq=seq)
        self.seq = max(self.seq, seq)
