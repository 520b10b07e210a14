"""How far the projection may be behind the store."""

import time
from collections.abc import Callable

from prometheus_client import Gauge

_behind = Gauge(
    "milepost_projection_lag_seconds",
    "For how long the projection has not been known to be level with the store; a few seconds while nothing happens",
)


class ProjectionLag:
    """Told by whoever follows the store; asked by whoever wants to know."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._level_at = monotonic()
        _behind.set_function(self.behind_s)

    def level(self) -> None:
        """All that the store had when it last spoke has been applied."""
        self._level_at = self._monotonic()

    def behind_s(self) -> float:
        """Seconds since then: everything stored before that is in the projection."""
        return max(0.0, self._monotonic() - self._level_at)
