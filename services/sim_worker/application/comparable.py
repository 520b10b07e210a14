"""What of the records is compared when some were computed behind a state file.

SUMO forgets the trips that ended before. The child puts sums and means together again, but each part has only the
two decimals that SUMO gives it: the last digit of the whole may differ though nothing else does. The digest of the
state, which is compared, covers every vehicle, person and signal.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from milepost.event.v1.event_pb2 import Event, IntervalClosed, PhaseEnded, StartKind
from milepost.kpi.v1.kpi_pb2 import Kpis
from session_log.codec import event_kind, kind_of, payload_of
from sim_worker.domain.judge import Judge, Simulated, whole

_KPIS_OF: Final[dict[int, type[IntervalClosed] | type[PhaseEnded]]] = {
    kind_of(IntervalClosed): IntervalClosed,
    kind_of(PhaseEnded): PhaseEnded,
}
# Fields of Kpis that are left out.
NOT_COMPARED: Final = (
    *("mean_route_length_m", "mean_trip_speed_mps", "mean_travel_time_s"),
    *("mean_waiting_time_s", "mean_time_loss_s", "mean_depart_delay_s"),
    *("total_travel_time_s", "total_depart_delay_s", "approximate_trips"),
)


def judge_of(
    recorded: Iterable[Event],
    *,
    start: StartKind.ValueType = StartKind.START_KIND_ORIGIN,
    rebasing: bool = False,
    tolerant: bool = False,
) -> Judge:
    """Who judges what a start computes by what the log holds.

    `rebasing`: it takes the very way of what was recorded, through the same state files (REBASE).
    """
    events = list(recorded)
    approximate = start == StartKind.START_KIND_STATE_FILE or any(map(_approximate, events))
    simulated = (Simulated(event_kind(e), e.step, e.sim_time_s, payload_of(e)) for e in events)
    return Judge.of(simulated, tolerant=tolerant, view=without_trips if approximate and not rebasing else whole)


def without_trips(record: Simulated) -> Simulated:
    """The record without sums and means over trips."""
    form = _KPIS_OF.get(record.kind)
    if form is None:
        return record
    payload = form.FromString(record.payload)
    clear_trips(payload.kpis)
    return replace(record, payload=payload.SerializeToString(deterministic=True))


def clear_trips(kpis: Kpis) -> None:
    """Clear sums and means over trips, and whether they are approximate."""
    for name in NOT_COMPARED:
        kpis.ClearField(name)


def _approximate(event: Event) -> bool:
    return event.interval_closed.kpis.approximate_trips or event.phase_ended.kpis.approximate_trips
