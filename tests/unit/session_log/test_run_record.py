"""What a run's record holds, row by row, against the past that recovery is judged by."""

from hypothesis import given
from hypothesis import strategies as st

from milepost.event.v1.event_pb2 import Event, IntervalClosed, PhaseEnded, RunOpened, SessionCreated
from milepost.session.v1.session_pb2 import ForkOrigin, PlannedPhase, SessionSpec
from session_log.fold_past import past_of
from session_log.run_record import run_record

INTERVAL_STEPS = 4
SPEC = SessionSpec(
    interval_steps=INTERVAL_STEPS,
    plan=[PlannedPhase(name="warm", duration_s=6), PlannedPhase(name="rush", duration_s=10)],
)
PHASE_ENDS = (6, 16)
openings = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), max_size=4)


def simulated(run: int, after: int, until: int) -> list[Event]:
    """What a run writes from one step to another, both at a step of one second."""
    found = []
    for step in range(after + 1, until + 1):
        if step % INTERVAL_STEPS == 0 or step == until:
            found.append(Event(run=run, step=step, sim_time_s=step, interval_closed=IntervalClosed()))
        for phase, end in enumerate(PHASE_ENDS):
            if step == end or (step == until and step < end and after < end and not (phase and step <= PHASE_ENDS[0])):
                found.append(Event(run=run, step=step, sim_time_s=step, phase_ended=PhaseEnded(phase=phase)))
    return found


@given(openings, st.lists(st.integers(0, 20), min_size=5, max_size=5), st.integers(0, 7))
def test_it_holds_what_the_past_of_the_run_holds(opened, lengths, fork_step: int) -> None:
    created = SessionCreated(spec=SPEC)
    if fork_step:
        created.forked_from.CopyFrom(ForkOrigin(step=fork_step))
    events = [Event(run=1, session_created=created), *simulated(1, fork_step, fork_step + lengths[0])]
    begins, ends = {1: fork_step}, {1: fork_step + lengths[0]}
    for number, (asked, at) in enumerate(opened, start=2):
        base = min(asked, number - 1)
        step = min(max(at, begins[base]), ends[base]) if base else 0
        begins[number], ends[number] = step, step + lengths[number - 1]
        opening = RunOpened(run=number, base_run=base, step=step, spec=SPEC)
        events += [Event(run=number, run_opened=opening), *simulated(number, step, ends[number])]

    for run in range(1, len(opened) + 2):
        record = run_record([event for event in events if event.WhichOneof("payload") in HEADERS], run)
        assert record is not None
        held = [event for event in events if holds(record, event)]
        assert held == list(past_of(events, run).recorded)
        assert record.from_origin == (root_of(run, opened) > 1 or not fork_step)
    assert run_record(events, 0) == run_record(events, len(opened) + 1)
    assert run_record(events, len(opened) + 2) is None


HEADERS = ("session_created", "run_opened")


def holds(record, event: Event) -> bool:
    if event.HasField("interval_closed"):
        return record.holds_interval(event.run, event.step)
    if event.HasField("phase_ended"):
        return record.holds_phase_end(event.run, event.step, event.sim_time_s, event.phase_ended.phase)
    return False


def root_of(run: int, opened) -> int:
    while run > 1 and (base := min(opened[run - 2][0], run - 1)):
        run = base
    return run


def test_an_interval_is_of_the_phase_it_ends_in() -> None:
    record = run_record([Event(run=1, session_created=SessionCreated(spec=SPEC))], 0)
    assert record is not None
    found = [record.phase_at(at) for at in (0.0, 0.5, 6.0, 6.5, 16.0, 16.5)]
    assert [phase and phase.name for phase in found] == [None, "warm", "warm", "rush", "rush", None]
