"""How long ingestion rests between two transactions.

A transaction costs this process, and all who follow what it stores, about as much with one message as with a hundred.
While somebody watches a log here it follows the last one soon; without watchers a busy stream is stored in fewer and
larger ones, and a stream that is quiet most of the time as soon as anything comes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# The least time from the begin of one transaction to the next, seconds.
COMMIT_PERIOD_S: Final = 0.04
# Without watchers so many transactions may follow each other as soon; from then on so many in a second.
BURST: Final = 50
RATE_HZ: Final = 4.0


@dataclass(slots=True)
class CommitPace:
    """A bucket of transactions that refills."""

    watched: Callable[[], bool] = lambda: False
    """Whether anybody watches a log of this process."""
    monotonic: Callable[[], float] = time.monotonic
    _left: float = BURST
    _began: float | None = field(default=None)

    def rest_s(self, began: float, *, more: bool) -> float:
        """Seconds from now until the next may begin, after one that began then; `more`: it was as large as may be."""
        since = began - self._began if self._began is not None else 0.0
        self._began = began
        self._left = max(-1.0, min(BURST, self._left + since * RATE_HZ) - 1.0)
        at_once = self._left >= 0.0 or more or self.watched()
        period_s = COMMIT_PERIOD_S if at_once else 1.0 / RATE_HZ
        return max(0.0, began + period_s - self.monotonic())
