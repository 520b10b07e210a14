"""Who did what: read from the logs themselves, which is where it stands, and from the list of scenarios."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from milepost.event.v1.event_pb2 import EventKind
from milepost.event.v1.event_service_pb2 import StoredEvent
from milepost.events import Events
from milepost.scenarios import Scenarios

_KINDS = (
    EventKind.EVENT_KIND_SESSION_CREATED,
    EventKind.EVENT_KIND_COMMAND_REQUESTED,
    EventKind.EVENT_KIND_COMMAND_APPLIED,
    EventKind.EVENT_KIND_COMMAND_REJECTED,
    EventKind.EVENT_KIND_STUDY_CREATED,
    EventKind.EVENT_KIND_STUDY_CANCEL_REQUESTED,
    EventKind.EVENT_KIND_STUDY_DELETED,
)
PENDING, DONE = "pending", "done"


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was asked for. `who` is empty where nobody had to say; `seq` 0: it stands in no log."""

    time: datetime
    tenant: str
    subject: str
    """The session, the scenario's digest, or `study-` and the study."""
    seq: int
    who: str
    what: str
    """`create session`, `create study`, `upload scenario` …, or the command's name: `cancel`, `set_pace` …"""
    comment: str = ""
    outcome: str = DONE
    """`done`, `done at step 600`, `refused: why`, or `pending`."""


async def deeds(
    events: Events,
    *,
    session_ids: Sequence[str] = (),
    since: datetime | None = None,
    all_tenants: bool = False,
) -> list[Deed]:
    """What was asked of these sessions, or of all of the tenant, in the order in which it was stored.

    Reads the logs once, up to where they end now. Raises NotFound for a session that does not exist, Denied for
    `all_tenants` without the role, Unavailable.
    """
    for session_id in session_ids:
        await events.head(session_id)
    found: dict[tuple[str, str, str], Deed] = {}
    async with aclosing(events.watch_all(kinds=_KINDS, session_ids=session_ids, all_tenants=all_tenants)) as responses:
        async for response in responses:
            for stored in response.events:
                _take(found, stored)
            if response.caught_up:
                break
    return [deed for deed in found.values() if since is None or deed.time >= since]


async def uploads(scenarios: Scenarios, *, since: datetime | None = None) -> AsyncIterator[Deed]:
    """Scenarios and who stored them first, newest first."""
    async for scenario in scenarios.list():
        time = scenario.create_time.ToDatetime(UTC)
        if since is not None and time < since:
            return
        yield Deed(time, "", scenario.digest, 0, scenario.owner, "upload scenario", scenario.display_name)


def _take(found: dict[tuple[str, str, str], Deed], stored: StoredEvent) -> None:
    event = stored.event
    time, log = event.record_time.ToDatetime(UTC), (stored.tenant, event.session_id)
    match event.WhichOneof("payload"):
        case "session_created":
            created = event.session_created
            what = "fork session" if created.HasField("forked_from") else "create session"
            found[*log, ""] = Deed(time, *log, event.seq, created.subject, what, created.display_name)
        case "study_created":
            study = event.study_created
            found[*log, ""] = Deed(time, *log, event.seq, study.subject, "create study", study.display_name)
        case "study_cancel_requested":
            wish = event.study_cancel_requested
            found[*log, str(event.seq)] = Deed(time, *log, event.seq, wish.subject, "cancel study", wish.comment)
        case "study_deleted":
            found[*log, str(event.seq)] = Deed(time, *log, event.seq, event.study_deleted.subject, "delete study")
        case "command_requested":
            asked = event.command_requested
            what = asked.WhichOneof("verb") or "unknown"
            who = asked.subject or asked.asked_by
            found[*log, asked.command_id] = Deed(time, *log, event.seq, who, what, asked.comment, PENDING)
        case "command_applied":
            step = f"{DONE} at step {event.step}" if event.step else DONE
            _settle(found, (*log, event.command_applied.command_id), step)
        case "command_rejected":
            rejected = event.command_rejected
            _settle(found, (*log, rejected.command_id), f"refused: {rejected.message}")


def _settle(found: dict[tuple[str, str, str], Deed], key: tuple[str, str, str], outcome: str) -> None:
    deed = found.get(key)
    if deed is not None:
        found[key] = replace(deed, outcome=outcome)
