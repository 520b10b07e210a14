"""Logs as payloads, and what they come to in the projection."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from milepost.event.v1.event_pb2 import AttemptClaimed, Event, RunStarted, SessionCreated
from milepost.event.v1.record_pb2 import EventBatch
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Session
from session_api.gateways.projected import Projected
from session_api.gateways.session_resource import apply
from session_log.codec import BatchHeaders, LogMessage, events, record

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = SessionCreated(display_name="d", auto_start=True, pool="p", scene=Scene(begin_time_s=100, end_time_s=200))


def log(*payloads: Message) -> list[Event]:
    """One event a second, ten simulated seconds each from the fourth on."""
    found: list[Event] = []
    for n, payload in enumerate(payloads):
        headers = BatchHeaders(n + 1, 1, 1 if n else 0, "n", BEGAN + timedelta(seconds=n))
        at = max(0, n - 2) * 10
        batch = EventBatch(records=[record(payload, step=at, sim_time_s=100.0 + at)])
        found += events("s", LogMessage(n + 1, headers, batch))
    return found


def projected(*payloads: Message) -> Projected:
    found = Projected()
    for event in log(*payloads):
        apply(found, event)
    return found


def after(*payloads: Message) -> Session:
    return projected(*payloads).session


RUNNING = (CREATED, AttemptClaimed(attempt=1, worker_id="w"), RunStarted(begin_time_s=100, step_length_s=1))
