"""Settings of the session API, from `MILEPOST_<NAME>`."""

from runtime.settings import ServiceSettings


class SessionApiSettings(ServiceSettings):
    """See ServiceSettings."""

    listen: str = "127.0.0.1:7400"
    metrics_listen: str = "127.0.0.1:9400"
    database_url: str = "sqlite+aiosqlite:///session_api.db"
    """SQLAlchemy URL of the projection, request ids and scenarios."""
    event_store: str = "127.0.0.1:7401"
    """Address of the event store."""
    pool: str = "sumo-1_28_0"
    """Pool that sessions are queued for that name none."""
    lease_s: float = 10.0
    """How long a worker may be silent before its sessions are given to others, seconds; the workers' setting, too."""
    reconcile_s: float = 5.0
    """How often work orders are compared with what the sessions want, seconds."""
    upload_max_bytes: int = 1024**3
    """Largest scenario, inflated, bytes."""
    undelete_window_s: float = 7 * 86400.0
    """How long a deleted session can be undeleted, seconds."""
    reap_s: float = 10.0
    """How often sessions that stood for too long, or are past their undelete window, are looked for, seconds."""
    keep_ended_s: float = 0.0
    """How long an ended session is kept that says nothing itself (`limits.keep_ended_s`), seconds; 0: for ever."""
    keep_results_s: float = 0.0
    """How long a stored result is kept that no study asks for, seconds; 0: for ever."""
    share_results: bool = False
    """Whether studies take stored results of other tenants, too; whoever takes the time can tell what others ran."""
