"""Steps and simulated time."""

from dataclasses import dataclass
from typing import Final

# SUMO counts time in milliseconds.
_MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True)
class Grid:
    """Where steps are in simulated time; step 0 is the begin of the scenario."""

    begin_ms: int
    step_ms: int

    @classmethod
    def of(cls, *, time_s: float, step: int, step_length_s: float) -> "Grid":
        """The grid of a simulation that has come to `step` at `time_s`."""
        step_ms = round(step_length_s * _MS_PER_S)
        return cls(round(time_s * _MS_PER_S) - step * step_ms, step_ms)

    def time_s(self, step: int) -> float:
        """Simulated time after so many steps."""
        return (self.begin_ms + step * self.step_ms) / _MS_PER_S

    def step_at(self, time_s: float) -> int:
        """The first step at or after a time."""
        return max(0, -(-(round(time_s * _MS_PER_S) - self.begin_ms) // self.step_ms))

    def steps_within(self, duration_s: float) -> int:
        """Whole steps in a duration."""
        return int(duration_s * _MS_PER_S) // self.step_ms
