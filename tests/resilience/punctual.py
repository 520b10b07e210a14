"""A watcher is never silently behind: either it has an event in time, or it could tell that it had not. Pure.

    stored ──────── sign ────── sign ─── seen        no stretch of this line is longer than LIMIT_S

A *sign* is whatever tells the one who watches that there may be more than it has: a connection that breaks or is made,
a heartbeat that says so, a message that is old when it comes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from resilience.observed import Violation

# The contract's heartbeat period: so long a silence means a broken connection, s.
LIMIT_S = 5.0


@dataclass(slots=True)
class Sight:
    """What one watcher saw of one log, and when. Times are of one clock, s."""

    session_id: str
    seen_s: dict[int, float] = field(default_factory=dict)
    """When each event came first, by its seq."""
    signs_s: list[float] = field(default_factory=list)
    """In any order."""


def silently_behind(
    sights: Sequence[Sight], stored_s: Mapping[tuple[str, int], float], *, until_s: float
) -> Iterator[Violation]:
    """The first event of each watcher that it had too late without a sign; one that never came is late at the end."""
    for number, sight in enumerate(sights):
        found = sorted(sight.signs_s)
        for (session_id, seq), stored in sorted(stored_s.items()):
            if session_id == sight.session_id:
                seen = sight.seen_s.get(seq, until_s)
                signs = found[bisect_left(found, stored) : bisect_right(found, seen)]
                longest_s = max((after - before for before, after in pairwise([stored, *signs, max(stored, seen)])))
                if longest_s > LIMIT_S:
                    words = (
                        f"watcher {number} had event {seq} {seen - stored:.1f} s late, {longest_s:.1f} s without a sign"
                    )
                    yield Violation("punctual", session_id, words, seq)
                    break
