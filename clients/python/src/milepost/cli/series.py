"""KPIs of a run over time, collected from its events, for the picture."""

from dataclasses import dataclass, field

from milepost.event.v1.event_pb2 import Event
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.watch_cursor import WatchItem


@dataclass(slots=True)
class Series:
    """Intervals of the run with that seed, in order: seconds since its begin, and the KPIs then."""

    seed: int
    begin_s: float = 0.0
    times_s: list[float] = field(default_factory=list)
    kpis: list[Kpis] = field(default_factory=list)

    def take(self, item: WatchItem) -> None:
        """Take an item of the run's watch in."""
        if not isinstance(item, Event):
            return
        if item.HasField("run_started"):
            self.begin_s = item.run_started.begin_time_s
        if item.HasField("interval_closed"):
            self.times_s.append(item.sim_time_s - self.begin_s)
            self.kpis.append(item.interval_closed.kpis)
