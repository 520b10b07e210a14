"""Fair share: the class a session waits in, quotas and what counts against them."""

import sqlalchemy as sa
from alembic import op

from milepost.scenario.v1.scenario_pb2 import Scenario

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add only. Files of sessions from before count from their next event on, or from a rebuild of the projection."""
    op.add_column("sessions", sa.Column("work_class", sa.String, nullable=False, server_default="standard"))
    op.add_column("sessions", sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("sessions", sa.Column("waits_for_quota", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("sessions_of_tenant", "sessions", ["tenant", "state"])
    op.add_column("scenarios", sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"))
    _measure_scenarios()
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("sessions", sa.BigInteger),
        sa.Column("slots", sa.BigInteger),
        sa.Column("stored_bytes", sa.BigInteger),
        sa.Column("uploads_per_hour", sa.BigInteger),
        sa.Column("upload_bytes_per_hour", sa.BigInteger),
    )
    op.create_table(
        "admissions",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("noted", sa.DateTime, nullable=False),
    )
    op.create_table(
        "uploads",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("upload_id", sa.String, primary_key=True),
        sa.Column("begun", sa.DateTime, nullable=False),
        sa.Column("granted", sa.DateTime),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )


def _measure_scenarios() -> None:
    """Nothing else ever writes their rows again."""
    scenarios = sa.table(
        "scenarios",
        *(sa.column(name) for name in ("tenant", "digest", "stored_bytes")),
        sa.column("resource", sa.LargeBinary),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(scenarios)).all():
        mine = sa.and_(scenarios.c.tenant == row.tenant, scenarios.c.digest == row.digest)
        size = sum(file.size_bytes for file in Scenario.FromString(row.resource).files)
        connection.execute(sa.update(scenarios).where(mine).values(stored_bytes=size))
