"""Settings every service has, read from environment variables `MILEPOST_<NAME>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from runtime.auth_settings import AuthSettings

# The tenant of who calls without authentication.
DEFAULT_TENANT = "default"


class ServiceSettings(AuthSettings):
    """What each service needs to start; a service adds its own fields in a subclass."""

    # A variable that a template leaves empty is one that is not set.
    model_config = SettingsConfigDict(env_prefix="MILEPOST_", env_ignore_empty=True)

    nats_url: str = "nats://127.0.0.1:4222"
    """The broker; the servers of a cluster are separated by commas.

    User and password stand in it where the broker wants them: `nats://user:password@host:port`.
    """
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """On how many servers of the broker's cluster each stream is kept, for whoever makes them first; odd."""
    listen: str
    """Address gRPC is served on, `host:port`; port 0 takes any free one."""
    metrics_listen: str
    """Address of the Prometheus endpoint, `host:port`; port 0 takes any free one."""
    ready_file: Path | None = None
    """Where to write, once everything serves, JSON with `address`, `metrics` and `pid`."""
    log_level: str = "INFO"
    keepalive_s: float = Field(default=30.0, ge=1)
    """How long a connection may be quiet before the server asks whether anybody is there, seconds."""
    keepalive_timeout_s: float = Field(default=10.0, gt=0)
    """How long that answer may take before the connection is closed, seconds."""
    max_connection_age_s: float = Field(default=0.0, ge=0)
    """When a client is asked to connect anew, seconds, give or take a tenth; 0: never.

    Behind a balancer this is what brings clients to a replica that came later.
    """
    max_connection_age_grace_s: float = Field(default=60.0, gt=0)
    """How long open calls may go on over a connection of that age before it is closed, seconds; watches resume."""
    drain_s: float = 5.0
    """How long open calls may take to end after SIGTERM, seconds."""
