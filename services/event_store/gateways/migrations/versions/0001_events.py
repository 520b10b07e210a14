"""Logs, events, the position in the broker's stream, blobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables of the first release."""
    op.create_table(
        "logs",
        sa.Column("log_key", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("session_id", sa.String, nullable=False),
        sa.Column("oldest_seq", sa.BigInteger, nullable=False),
        sa.Column("head_seq", sa.BigInteger, nullable=False),
        sa.Column("head_kind", sa.Integer, nullable=False),
        sa.Column("head_stream_seq", sa.BigInteger, nullable=False),
        sa.Column("head_stored_us", sa.BigInteger, nullable=False),
        sa.Column("purged_stream_seq", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("tenant", "session_id"),
    )
    op.create_table(
        "events",
        sa.Column("log_key", sa.BigInteger, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("sim_time_s", sa.Float, nullable=False),
        sa.Column("record_us", sa.BigInteger, nullable=False),
        sa.Column("stored_us", sa.BigInteger, nullable=False),
        sa.Column("stream_seq", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("events_stream_seq", "events", ["stream_seq", "seq"])
    op.create_table(
        "position",
        sa.Column("one", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.String, nullable=False),
        sa.Column("stream_seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("lease_until_us", sa.BigInteger, nullable=False),
    )
