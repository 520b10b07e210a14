"""Whose blobs are: those of the release before are the default tenant's, there was no other."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add only. What a process of the release before stores meanwhile is found missing, and uploaded again."""
    op.create_table(
        "blob_grants",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("sha256", sa.String, primary_key=True),
    )
    op.create_index("blob_grants_sha256", "blob_grants", ["sha256"])
    op.execute("insert into blob_grants (tenant, sha256) select 'default', sha256 from blobs")
