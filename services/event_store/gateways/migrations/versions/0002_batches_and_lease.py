"""Events in compressed batches, and whose turn it is to ingest.

The rows of the first release, one for each event, are carried over.

Their table stays until the next release; processes of the first release, of which there is one at a time, are stopped
before this one starts.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from event_store.gateways.merged import Merged
from milepost.event.v1.record_pb2 import EventBatch, Record
from session_log.codec import BatchHeaders, LogMessage

revision = "0002"
down_revision = "0001"

# Events in memory at a time.
_PORTION = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    """Add the tables and carry over."""
    batches = op.create_table(
        "batches",
        sa.Column("log_key", sa.BigInteger, primary_key=True),
        sa.Column("last_seq", sa.BigInteger, primary_key=True),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("kinds", sa.BigInteger, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("first_sim_time_s", sa.Double, nullable=False),
        sa.Column("last_sim_time_s", sa.Double, nullable=False),
        sa.Column("record_us", sa.BigInteger, nullable=False),
        sa.Column("stored_us", sa.BigInteger, nullable=False),
        sa.Column("first_stream_seq", sa.BigInteger, nullable=False),
        sa.Column("last_stream_seq", sa.BigInteger, nullable=False),
        sa.Column("commit_seq", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.LargeBinary, nullable=False),
        sa.Column("event_count", sa.Integer, nullable=False),
        sa.Column("events", sa.LargeBinary, nullable=False),
    )
    op.create_index("batches_commit_seq", "batches", ["commit_seq", "first_stream_seq"])
    op.create_table(
        "ingest_lease",
        sa.Column("one", sa.Integer, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("until_us", sa.BigInteger, nullable=False),
    )
    connection = op.get_bind()
    for rows in _portions(connection):
        connection.execute(sa.insert(batches), rows)


def _portions(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    """One batch for each message of the broker, some at a time."""
    rows: list[dict[str, Any]] = []
    size = 0
    # By key, not by cursor: nothing may be open on the connection while it is written to.
    for _, events in groupby(_events(connection), key=lambda row: (row.log_key, row.stream_seq)):
        batch = _batch(list(events))
        rows.append(batch)
        size += batch["event_count"]
        if size >= _PORTION:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _events(connection: sa.Connection) -> Iterator[Any]:
    key, seq = 0, 0
    query = sa.text(
        "select e.*, l.session_id from events e join logs l on l.log_key = e.log_key "
        "where e.log_key > :key or (e.log_key = :key and e.seq > :seq) order by e.log_key, e.seq limit :portion"
    )
    while rows := connection.execute(query, {"key": key, "seq": seq, "portion": _PORTION}).all():
        yield from rows
        key, seq = rows[-1].log_key, rows[-1].seq


def _batch(events: list[Any]) -> dict[str, Any]:
    first = events[0]
    headers = BatchHeaders(
        first_seq=first.seq,
        run=first.run,
        attempt=first.attempt,
        nonce="",
        record_time=_EPOCH + timedelta(microseconds=first.record_us),
    )
    records = [Record(kind=e.kind, step=e.step, sim_time_s=e.sim_time_s, payload=e.payload) for e in events]
    message = LogMessage(first.stream_seq, headers, EventBatch(records=records))
    merged = Merged(first.log_key, first=message, last=message)
    merged.add(first.session_id, message)
    return merged.values(stored_us=first.stored_us, commit_seq=first.stream_seq)
