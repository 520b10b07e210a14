"""Commands: what is remembered of a session beside its resource, outcomes, deletion."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add only: processes of the release before go on beside this one."""
    op.add_column("sessions", sa.Column("memory", sa.Text, nullable=False, server_default=""))
    op.add_column("sessions", sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("sessions", sa.Column("purge_time", sa.DateTime))
    op.add_column("sessions", sa.Column("idle_until", sa.DateTime))
    op.create_table(
        "outcomes",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("command_id", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("sim_time_s", sa.Float, nullable=False),
        sa.Column("applied", sa.Boolean, nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("field", sa.String, nullable=False),
    )
