"""Studies, and results of runs by content."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add only."""
    op.create_table(
        "studies",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("study_id", sa.String, primary_key=True),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("resource", sa.LargeBinary, nullable=False),
    )
    op.create_index("studies_newest", "studies", ["tenant", "create_time", "study_id"])
    op.create_index("studies_state", "studies", ["state"])
    op.create_table(
        "study_requests",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("study_id", sa.String, nullable=False),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "results",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("resource", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
    )
    op.create_index("results_by_key", "results", ["key"])
