"""Recovery: the log is the judge (determinism.md).

A new attempt simulates from the origin. As long as the log holds more, each of its records is compared with the
recorded one and not written again; from the end of the record on, it is written.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Simulated:
    """What makes two records equal."""

    kind: int
    step: int
    sim_time_s: float
    payload: bytes

    def fingerprint(self) -> bytes:
        """Sixteen bytes that differ when the record differs."""
        head = f"{self.kind} {self.step} {self.sim_time_s!r} ".encode()
        return hashlib.blake2b(head + self.payload, digest_size=16).digest()


@dataclass(eq=False)
class Diverged(Exception):
    """The new attempt computed something else than the log holds."""

    computed: Simulated
    equal_records: int

    @property
    def step(self) -> int:
        """Where."""
        return self.computed.step


def whole(record: Simulated) -> Simulated:
    """All of a record is judged."""
    return record


@dataclass(slots=True)
class Judge:
    """Compares a new attempt's records with the recorded ones, in order."""

    equal: int = 0
    tolerant: bool = False
    """Take what comes for what is recorded, as long as there is something recorded."""
    view: Callable[[Simulated], Simulated] = whole
    """What of a record is judged."""
    _left: deque[bytes] = field(default_factory=deque)

    @classmethod
    def of(
        cls,
        recorded: Iterable[Simulated],
        *,
        tolerant: bool = False,
        view: Callable[[Simulated], Simulated] = whole,
    ) -> "Judge":
        """A judge who knows what the log holds; only fingerprints are kept."""
        return cls(tolerant=tolerant, view=view, _left=deque(view(record).fingerprint() for record in recorded))

    @property
    def deliberating(self) -> bool:
        """Whether the log still holds more than the new attempt has computed."""
        return bool(self._left)

    def is_known(self, record: Simulated) -> bool:
        """True: recorded already, and equal. False: new. Raises Diverged."""
        if not self._left:
            return False
        if self._left.popleft() != self.view(record).fingerprint() and not self.tolerant:
            raise Diverged(computed=record, equal_records=self.equal)
        self.equal += 1
        return True
