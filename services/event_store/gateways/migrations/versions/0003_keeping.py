"""What keeps blobs and what lets logs go: references, holds, deletions."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# What was stored before references were kept stays until whoever lists it has said so, microseconds: a week.
_GRACE_US = 7 * 86400 * 1_000_000


def upgrade() -> None:
    """Add only: processes of the release before go on beside this one."""
    op.create_table(
        "blob_references",
        sa.Column("log_key", sa.BigInteger, primary_key=True),
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
    )
    op.create_index("blob_references_sha256", "blob_references", ["sha256"])
    op.create_table(
        "blob_holds",
        sa.Column("holder", sa.String, primary_key=True),
        sa.Column("sha256", sa.String, primary_key=True),
    )
    op.create_index("blob_holds_sha256", "blob_holds", ["sha256"])
    op.create_table(
        "manifest_files",
        sa.Column("manifest", sa.String, primary_key=True),
        sa.Column("sha256", sa.String, primary_key=True),
    )
    op.create_index("manifest_files_sha256", "manifest_files", ["sha256"])
    op.create_table(
        "deletions",
        sa.Column("log_key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("purge_us", sa.BigInteger, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("fence_stream_seq", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("deletions_due", "deletions", ["stage", "purge_us"])
    op.create_table("unnoted_logs", sa.Column("log_key", sa.BigInteger, primary_key=True, autoincrement=False))
    op.add_column("blobs", sa.Column("doomed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("insert into unnoted_logs (log_key) select log_key from logs")
    grace = sa.text("update blobs set lease_until_us = :until where lease_until_us < :until")
    op.execute(grace.bindparams(until=round(time.time() * 1_000_000) + _GRACE_US))
