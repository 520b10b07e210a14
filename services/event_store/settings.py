"""Settings of the event store, from `MILEPOST_<NAME>`."""

from runtime.settings import ServiceSettings


class EventStoreSettings(ServiceSettings):
    """See ServiceSettings."""

    listen: str = "127.0.0.1:7401"
    metrics_listen: str = "127.0.0.1:9401"
    database_url: str = "sqlite+aiosqlite:///event_store.db"
    """SQLAlchemy URL of the events."""
    blob_url: str = "file:///var/lib/milepost/blobs"
    """Where blobs are: `file:///folder`, or an object store's URL."""
    blob_max_bytes: int = 2 * 1024**3
    """Largest blob, bytes."""
    blob_lease_s: float = 86400.0
    """How long a blob is kept after its upload, or after it was asked for, though nothing names it, seconds."""
    purge_delay_s: float = 3600.0
    """How long the broker keeps the messages of a session that ended and is stored, seconds."""
    tombstone_s: float = 30 * 86400.0
    """How long after its purge time the name of a deleted session is refused to whoever would use it again, seconds."""
    clean_up_s: float = 600.0
    """How often deleted sessions are dropped and garbage is collected, seconds."""
    cut_runs_after_s: float = 0.0
    """How long after its end a session loses the intervals of earlier runs nothing stands on, seconds; 0: never."""
