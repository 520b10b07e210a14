"""Say what it would cost to take this worker away: its sessions. Idle workers are to go first."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from sim_worker.gateways.own_pod import OwnPod, PodNotPatched

log = structlog.get_logger()

# How often the price may change, seconds: a fleet of hundreds must not keep the API server busy.
PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class PricePod:
    """Writes to `pod` how many sessions there are."""

    pod: OwnPod
    busy: Callable[[], int]
    period_s: float = PERIOD_S

    async def __call__(self) -> None:
        """Until cancelled, when it has changed. One that fails is made again: it is advice, nothing waits for it."""
        # An earlier life in the same pod may have left anything there.
        written: int | None = None
        failed = ""
        while True:
            cost = self.busy()
            if cost != written:
                try:
                    await self.pod.set_deletion_cost(cost)
                except PodNotPatched as error:
                    if str(error) != failed:
                        failed = str(error)
                        log.warning("pod deletion cost not written", cost=cost, because=failed)
                else:
                    written, failed = cost, ""
            await asyncio.sleep(self.period_s)
