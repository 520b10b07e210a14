"""The tables of the event store.

`batches` holds the events, append-only and in the broker's order; `logs` holds where each session's log ends;
`position` is how far the broker's stream has been written, moved in the same transaction as the rows (log.md R11).

The events of the first release, a row each, were carried over into `batches` by migration 0002; their table is empty
of use and goes with the next release.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
)

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

# Consecutive events of one log, of one run and attempt, that were written in one transaction: the records of one
# message of the broker, or of several (ADR 12).
batches = Table(
    "batches",
    metadata,
    Column("log_key", BigInteger, primary_key=True),
    # The key, because a reader that has seen `n` wants what ends after it.
    Column("last_seq", BigInteger, primary_key=True),
    Column("first_seq", BigInteger, nullable=False),
    Column("run", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    # Which kinds are in it (event_bytes.kinds_mask): what a filter skips is not unpacked.
    Column("kinds", BigInteger, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("first_sim_time_s", Double, nullable=False),
    Column("last_sim_time_s", Double, nullable=False),
    # Microseconds since 1970: the writer's clock at the first message, and the store's.
    Column("record_us", BigInteger, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
    Column("first_stream_seq", BigInteger, nullable=False),
    Column("last_stream_seq", BigInteger, nullable=False),
    # Last stream sequence number of the transaction: those of two transactions never interleave.
    Column("commit_seq", BigInteger, nullable=False),
    # Where one message ends and the next begins (event_bytes.packed_messages); empty when it is one.
    Column("messages", LargeBinary, nullable=False),
    # How many are in it: those between first_seq and last_seq but for what was cut.
    Column("event_count", Integer, nullable=False),
    # A serialised EventList, as watchers get it, compressed with zstd.
    Column("events", LargeBinary, nullable=False),
    Index("batches_commit_seq", "commit_seq", "first_stream_seq"),
)

position = Table(
    "position",
    metadata,
    Column("one", Integer, primary_key=True),
    # When the broker's stream was created: another stream has other sequence numbers.
    Column("epoch", String, nullable=False),
    Column("stream_seq", BigInteger, nullable=False),
)

# Whose turn it is to ingest: one row (gateways.ingest_lease). SQLite has one process and needs none.
ingest_lease = Table(
    "ingest_lease",
    metadata,
    Column("one", Integer, primary_key=True),
    # A name that the holder's connections bear, too.
    Column("holder", String, nullable=False),
    # Microseconds since 1970, the database's clock.
    Column("until_us", BigInteger, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # Until when it is kept though nothing durable names it (R16), microseconds since 1970.
    Column("lease_until_us", BigInteger, nullable=False),
    # Being deleted: as good as gone, and not yet to be written anew (gateways/blob_keeping.py).
    Column("doomed", Boolean, nullable=False, server_default=false()),
)
