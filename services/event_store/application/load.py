"""How hard it is for this process to keep up: by how much its event loop is late.

Everything a watcher is owed goes through one loop. When that is late, whoever does not read, a full core and a
neighbour that takes the machine look the same, and doing less helps against each of them.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Gauge

_late = Gauge("milepost_loop_late_seconds", "How late the event loop was when last looked at")

# How often it is looked at, seconds.
LOOK_S = 0.1
# So late, seconds, means overloaded; a watcher is to hear of an event within a quarter of a second.
LATE_S = 0.1
# After it was late last, this long counts as overloaded, too, seconds: no flicker.
CALM_S = 2.0


@dataclass(slots=True)
class Load:
    """Says whether to leave undone what can be left undone."""

    monotonic: Callable[[], float] = field(default=time.monotonic)
    _calm_at: float = float("-inf")

    @property
    def overloaded(self) -> bool:
        """Whether the loop was late just now."""
        return self.monotonic() < self._calm_at

    async def measure(self) -> None:
        """Run until cancelled."""
        while True:
            began = self.monotonic()
            await asyncio.sleep(LOOK_S)
            late_s = self.monotonic() - began - LOOK_S
            _late.set(late_s)
            if late_s > LATE_S:
                self._calm_at = self.monotonic() + CALM_S
