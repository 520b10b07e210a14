"""Forget results: stored results that no study has asked for in a long time go; what wants them simulates again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter

from session_api.gateways.grants import utc_now
from session_api.gateways.results_sql import Results

log = structlog.get_logger()
_forgotten = Counter("milepost_forgotten_results_total", "Stored results that no study has asked for in a long time")


@dataclass(frozen=True, slots=True)
class ForgetResults:
    """`keep`: for so long after they were stored, or asked for last; None: for ever."""

    results: Results
    keep: timedelta | None
    clock: Callable[[], datetime] = utc_now

    async def __call__(self) -> int:
        """How many went."""
        if self.keep is None:
            return 0
        forgotten = await self.results.drop_unused(since=self.clock() - self.keep)
        if forgotten:
            _forgotten.inc(forgotten)
            log.info("stored results forgotten", results=forgotten)
        return forgotten
