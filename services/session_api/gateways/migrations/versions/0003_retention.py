"""Retention: when a session ended, and until when it wants to be kept."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add only. Sessions that ended before get theirs with their next event, or by a rebuild of the projection."""
    op.add_column("sessions", sa.Column("ended_at", sa.DateTime))
    op.add_column("sessions", sa.Column("kept_until", sa.DateTime))
    op.create_index("sessions_ended_at", "sessions", ["ended_at"])
