"""The tables of the session API.

`sessions` and `outcomes` are projections of the logs and can be rebuilt from them; `requests` (idempotency keys) and
`scenarios` are truths of their own and are backed up.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("request_digest", LargeBinary, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("state", Integer, nullable=False),
    Column("pool", String, nullable=False),
    # Its class as the subjects of orders have it, priority included (runtime.work_queue).
    Column("work_class", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("create_time", DateTime, nullable=False),
    # A serialised milepost.session.v1.Session, FULL view.
    Column("resource", LargeBinary, nullable=False),
    # JSON: what the next event needs beside the resource (session_api.gateways.projected).
    Column("memory", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    # When a deleted session goes for good.
    Column("purge_time", DateTime),
    # When a session that just stands has stood for too long.
    Column("idle_until", DateTime),
    # When it ended, and until when it wants to be kept, while it may be deleted for its age.
    Column("ended_at", DateTime),
    Column("kept_until", DateTime),
    Index("sessions_newest", "tenant", "create_time", "session_id"),
    Index("sessions_state", "state"),
    Index("sessions_ended_at", "ended_at"),
)

# What became of the commands of a session; goes with it.
outcomes = Table(
    "outcomes",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("command_id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("sim_time_s", Float, nullable=False),
    Column("applied", Boolean, nullable=False),
    Column("message", String, nullable=False),
    Column("field", String, nullable=False),
)

# How far the projection has followed the store: one row.
feed = Table(
    "feed",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("epoch", String, nullable=False),
    Column("stream_seq", BigInteger, nullable=False),
)

scenarios = Table(
    "scenarios",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("create_time", DateTime, nullable=False),
    # A serialised milepost.scenario.v1.Scenario.
    Column("resource", LargeBinary, nullable=False),
    Index("scenarios_newest", "tenant", "create_time", "digest"),
)
