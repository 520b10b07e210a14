"""Tables of what keeps a blob, of whose it is, and of what lets a log go.

a blob stays while ─┬─ its lease runs                              blobs.lease_until_us
├─ an event of a stored log names it           blob_references
├─ somebody outside the logs holds it          blob_holds
└─ it is a file of a manifest that is named    manifest_files
"""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from event_store.gateways.tables import metadata

blob_references = Table(
    "blob_references",
    metadata,
    Column("log_key", BigInteger, primary_key=True),
    Column("sha256", String, primary_key=True),
    # What names it in the log (references.py).
    Column("name", String, primary_key=True),
    Index("blob_references_sha256", "sha256"),
)

blob_holds = Table(
    "blob_holds",
    metadata,
    Column("holder", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Index("blob_holds_sha256", "sha256"),
)

# Who may know of a blob: tenants that have sent it themselves. Keeps nothing.
blob_grants = Table(
    "blob_grants",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Index("blob_grants_sha256", "sha256"),
)

# The files of scenarios, read from their manifests once.
manifest_files = Table(
    "manifest_files",
    metadata,
    Column("manifest", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Index("manifest_files_sha256", "sha256"),
)

# Logs whose session was deleted, and how far the store is with it (gateways/deletions.py).
deletions = Table(
    "deletions",
    metadata,
    Column("log_key", BigInteger, primary_key=True, autoincrement=False),
    # When the session goes for good, microseconds since 1970.
    Column("purge_us", BigInteger, nullable=False),
    Column("stage", Integer, nullable=False),
    # Once hidden: the last message of the log on the broker.
    Column("fence_stream_seq", BigInteger, nullable=False, server_default="0"),
    Index("deletions_due", "stage", "purge_us"),
)

# Logs of the release before, what they name not noted yet.
unnoted_logs = Table("unnoted_logs", metadata, Column("log_key", BigInteger, primary_key=True, autoincrement=False))
