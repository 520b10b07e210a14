"""Sessions, request ids, scenarios, and how far the projection has followed the store."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables of the first release."""
    op.create_table(
        "requests",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, nullable=False),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("pool", sa.String, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("resource", sa.LargeBinary, nullable=False),
    )
    op.create_index("sessions_newest", "sessions", ["tenant", "create_time", "session_id"])
    op.create_index("sessions_state", "sessions", ["state"])
    op.create_table(
        "feed",
        sa.Column("one", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.String, nullable=False),
        sa.Column("stream_seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "scenarios",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("resource", sa.LargeBinary, nullable=False),
    )
    op.create_index("scenarios_newest", "scenarios", ["tenant", "create_time", "digest"])
