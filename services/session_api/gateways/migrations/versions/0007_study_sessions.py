"""Which study a session belongs to, and when a stored result was asked for last."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add only. Sessions of before get their study with their next event, or by a rebuild of the projection."""
    op.add_column("sessions", sa.Column("study_id", sa.String, nullable=False, server_default=""))
    op.create_index("sessions_of_study", "sessions", ["tenant", "study_id", "create_time", "session_id"])
    # For all there is, use begins now. A process of the release before may still write rows without.
    op.add_column(
        "results", sa.Column("use_time", sa.DateTime, nullable=False, server_default=sa.text("'1970-01-01 00:00:00'"))
    )
    op.execute("update results set use_time = current_timestamp")
    op.create_index("results_use_time", "results", ["use_time"])
