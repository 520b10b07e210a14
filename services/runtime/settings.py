"""Settings every service has, read from environment variables `MILEPOST_<NAME>`."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

# Milepost has one tenant until tokens name others.
DEFAULT_TENANT = "default"


class ServiceSettings(BaseSettings):
    """What each service needs to start; a service adds its own fields in a subclass."""

    model_config = SettingsConfigDict(env_prefix="MILEPOST_")

    nats_url: str = "nats://127.0.0.1:4222"
    """The broker."""
    listen: str
    """Address gRPC is served on, `host:port`; port 0 takes any free one."""
    metrics_listen: str
    """Address of the Prometheus endpoint, `host:port`; port 0 takes any free one."""
    ready_file: Path | None = None
    """Where to write, once everything serves, JSON with `address`, `metrics` and `pid`."""
    log_level: str = "INFO"
    drain_s: float = 5.0
    """How long open calls may take to end after SIGTERM, seconds."""
