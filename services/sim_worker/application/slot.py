"""A session's share of a worker: a process of its own."""

import asyncio
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Slot:
    """Held while a process of the session may run, and given up then: while one session ends, the next begins.

    As many may be ending as there are slots; where the store is slow to take what they wrote, the others keep theirs.
    """

    free: asyncio.Semaphore
    ending: set["Slot"]
    slots: int

    def over(self) -> None:
        """The session's processes are gone for good."""
        if len(self.ending) < self.slots and self not in self.ending:
            self.ending.add(self)
            self.free.release()

    def left(self, _: object) -> None:
        """The worker is done with the session."""
        if self in self.ending:
            self.ending.remove(self)
        else:
            self.free.release()
