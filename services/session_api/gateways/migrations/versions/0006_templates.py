"""Templates: scenarios with parameters."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add only."""
    op.create_table(
        "templates",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("scenario_digest", sa.String, nullable=False),
        sa.Column("resource", sa.LargeBinary),
        sa.Column("scenario", sa.LargeBinary),
        sa.Column("places", sa.LargeBinary),
    )
    op.create_index("templates_of_scenario", "templates", ["tenant", "scenario_digest"])
