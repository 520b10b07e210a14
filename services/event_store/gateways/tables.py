"""The tables of the event store.

`events` is append-only and in the broker's order; `logs` holds where each session's log ends; `position` is how far
the broker's stream has been written, moved in the same transaction as the rows (log.md R11).
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, UniqueConstraint

metadata = MetaData()

# BIGINT PRIMARY KEY is not SQLite's rowid; its plain INTEGER is, and counts as far.
_Key = BigInteger().with_variant(Integer, "sqlite")

logs = Table(
    "logs",
    metadata,
    Column("log_key", _Key, primary_key=True, autoincrement=True),
    Column("tenant", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("oldest_seq", BigInteger, nullable=False),
    Column("head_seq", BigInteger, nullable=False),
    # Kind of the last event; a terminal one stays until a new run is opened (R14).
    Column("head_kind", Integer, nullable=False),
    Column("head_stream_seq", BigInteger, nullable=False),
    # Microseconds since 1970, the store's clock.
    Column("head_stored_us", BigInteger, nullable=False),
    # The broker holds nothing of this log before this sequence number any more (R4).
    Column("purged_stream_seq", BigInteger, nullable=False),
    UniqueConstraint("tenant", "session_id"),
)

events = Table(
    "events",
    metadata,
    Column("log_key", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("sim_time_s", Float, nullable=False),
    # Microseconds since 1970: the writer's clock, and the store's.
    Column("record_us", BigInteger, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
    Column("stream_seq", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("events_stream_seq", "stream_seq", "seq"),
)

position = Table(
    "position",
    metadata,
    Column("one", Integer, primary_key=True),
    # When the broker's stream was created: another stream has other sequence numbers.
    Column("epoch", String, nullable=False),
    Column("stream_seq", BigInteger, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # Until when it is kept though nothing durable names it (R16), microseconds since 1970.
    Column("lease_until_us", BigInteger, nullable=False),
)
