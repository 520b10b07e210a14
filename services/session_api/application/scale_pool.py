"""Tell an autoscaler how many slots a pool wants, once or for as long as it listens."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import structlog

from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused, FieldViolation
from session_api.domain.scaling import BadMetadata, ScaledPool, scaled_pool
from session_api.gateways.wanted_slots import WantedSlots

log = structlog.get_logger()

# How often the load is looked at for those who listen, seconds.
LOOK_PERIOD_S = 1.0
_FIELD = "scalerMetadata"


@dataclass(frozen=True, slots=True)
class ScalePool:
    """Answers about pools. `listen_s` is how long one may listen before it is asked to come again; 0: for ever."""

    wanted: WantedSlots
    default_pool: str
    stopping: asyncio.Event
    listen_s: float = 0.0

    def pool(self, metadata: Mapping[str, str], metric: str = "") -> ScaledPool:
        """The pool that is spoken of. Raises CallRefused(FIELD_INVALID), naming the key, or the metric it has not."""
        try:
            pool = scaled_pool(metadata, default_pool=self.default_pool)
        except BadMetadata as bad:
            raise _invalid(f"{_FIELD}.{bad.key}", bad.wanted) from bad
        if metric and metric != pool.metric:
            raise _invalid("metricName", f"this pool's metric is {pool.metric}")
        return pool

    async def active(self, pool: ScaledPool) -> AsyncIterator[bool]:
        """Whether it wants any worker: at once, then at every change; nothing while that is not known.

        Ends when this service stops, or after `listen_s`.
        """
        until = time.monotonic() + self.listen_s if self.listen_s else None
        said: bool | None = None
        known = True
        while True:
            try:
                active = await self.wanted(pool.pool) > 0
            except CallRefused as unknown:
                if known:
                    log.warning("load not known", pool=pool.pool, because=unknown.message)
                known = False
            else:
                known = True
                if active is not said:
                    said = active
                    yield active
            if not await self._goes_on(until):
                return

    async def stay(self) -> None:
        """Return when those who listen are to go."""
        until = time.monotonic() + self.listen_s if self.listen_s else None
        while await self._goes_on(until):
            pass

    async def _goes_on(self, until: float | None) -> bool:
        """Wait until it is time to look again; False when listening is over."""
        if until is not None and time.monotonic() >= until:
            return False
        try:
            async with asyncio.timeout(LOOK_PERIOD_S):
                await self.stopping.wait()
        except TimeoutError:
            return True
        return False


def _invalid(field: str, wanted: str) -> CallRefused:
    return CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID, f"{field}: {wanted}", violations=[FieldViolation(field, wanted)]
    )
