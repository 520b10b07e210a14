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
    purge_delay_s: float = 3600.0
    """How long the broker keeps the messages of a session that ended and is stored, seconds."""
