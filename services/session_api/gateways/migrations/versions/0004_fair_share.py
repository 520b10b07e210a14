"""Fair share: the class a session waits in."""

import sqlalchemy as sa
from alembic import op

revision = "0004_fair_share"
down_revision = "0003"


def upgrade() -> None:
    """Add only. Sessions from before are of the class that was the only one."""
    op.add_column("sessions", sa.Column("work_class", sa.String, nullable=False, server_default="standard"))
