"""What a pool's autoscaler is told to scale by: the metadata of its trigger, understood.

pool            pool of workers; default: the one new sessions are queued for
slotsPerWorker  sessions a worker runs at once, above 0; required
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

POOL_KEY = "pool"
SLOTS_KEY = "slotsPerWorker"
# Read by KEDA itself, which passes on all it was given.
_OF_KEDA = frozenset(
    {"scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsCertFile", "tlsClientCert", "tlsClientKey"}
)
# A token of a subject (contracts.md), and short enough for the name of a metric.
_POOL = re.compile(r"[A-Za-z0-9_-]{1,63}")
# The broker could not hold as many sessions; a slip of the keyboard can.
_MAX_SLOTS = 1e6


@dataclass(frozen=True, slots=True)
class ScaledPool:
    """A pool whose number of workers follows its sessions."""

    pool: str
    slots_per_worker: float

    @property
    def metric(self) -> str:
        """Name of its metric; other pools have others."""
        return f"milepost-slots-{self.pool}"


@dataclass(eq=False)
class BadMetadata(Exception):
    """`key` is missing, unknown, or has a value it cannot have; `wanted` says what it wants."""

    key: str
    wanted: str


def scaled_pool(metadata: Mapping[str, str], *, default_pool: str) -> ScaledPool:
    """The pool a trigger's metadata speaks of. Raises BadMetadata."""
    for key in metadata:
        if key not in {POOL_KEY, SLOTS_KEY} | _OF_KEDA:
            raise BadMetadata(key, f"no such key; there are {POOL_KEY} and {SLOTS_KEY}")
    pool = metadata.get(POOL_KEY, default_pool)
    if not _POOL.fullmatch(pool):
        raise BadMetadata(POOL_KEY, "1 to 63 letters, digits, - and _")
    return ScaledPool(pool, _slots(metadata.get(SLOTS_KEY)))


def _slots(text: str | None) -> float:
    if text is None:
        raise BadMetadata(SLOTS_KEY, "must be given: sessions a worker runs at once")
    try:
        slots = float(text)
    except ValueError:
        slots = math.nan
    if not 0 < slots <= _MAX_SLOTS:
        raise BadMetadata(SLOTS_KEY, f"a number above 0, at most {_MAX_SLOTS:.0f}")
    return slots
