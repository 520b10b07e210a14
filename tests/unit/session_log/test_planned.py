"""What is planned, in its order, beside the journal."""

from milepost.event.v1.event_pb2 import JournalEntry
from milepost.intervention.v1.intervention_pb2 import Intervention, ScaleDemand
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import PlannedIntervention, SessionSpec
from session_log.planned import as_applied, end_of, in_order, planned_before, planned_up_to, step_of
from sim_worker.child.grid import Grid

SCENE = Scene(begin_time_s=100, step_length_s=0.5)


def scaled(factor: float) -> Intervention:
    return Intervention(scale_demand=ScaleDemand(factor=factor))


def planned(at_time_s: float, factor: float) -> PlannedIntervention:
    return PlannedIntervention(at_time_s=at_time_s, intervention=scaled(factor))


def entry(step: int, factor: float, planned_length: int | None = None) -> JournalEntry:
    return JournalEntry(step=step, intervention=scaled(factor), planned_length=planned_length)


def factors(interventions: list[Intervention]) -> list[float]:
    return [one.scale_demand.factor for one in interventions]


def test_a_plan_is_in_the_order_of_times_and_of_equal_times_in_that_of_the_list() -> None:
    plan = [planned(9, 1), planned(5, 2), planned(9.0001, 3), planned(9, 4), planned(5, 5)]
    assert factors([one.intervention for one in in_order(plan)]) == [2, 5, 1, 3, 4]


def test_a_time_means_the_first_step_at_or_after_it_as_the_process_counts() -> None:
    grid = Grid.of(time_s=SCENE.begin_time_s, step=0, step_length_s=SCENE.step_length_s)
    for time_s, step in ((0, 0), (100, 0), (100.1, 1), (100.5, 1), (100.5004, 1), (100.501, 2), (130, 60)):
        assert (step_of(planned(time_s, 1), SCENE), grid.step_at(time_s)) == (step, step), time_s


def test_what_is_due_at_a_step_counts_up_to_it_and_not_before() -> None:
    spec = SessionSpec(interventions=[planned(101, 1), planned(0, 2), planned(100.7, 3)])
    assert [planned_before(spec, SCENE, step) for step in (0, 1, 2, 3)] == [0, 1, 1, 3]
    assert [planned_up_to(spec, SCENE, step) for step in (0, 1, 2, 3)] == [1, 1, 3, 3]


def test_a_plan_comes_before_the_journal_of_its_step_but_a_forks_own_behind_its_parents() -> None:
    plan = [planned(100, 1), planned(101, 2), planned(101, 3), planned(102, 4)]
    journal = [entry(0, 10), entry(2, 20)]
    assert factors(as_applied(plan, journal, SCENE)) == [1, 10, 2, 3, 20, 4]
    forked = [entry(0, 10), entry(2, 20, planned_length=2), entry(2, 30)]
    assert factors(as_applied(plan, forked, SCENE)) == [1, 10, 2, 20, 3, 30, 4]
    assert factors(as_applied(plan[:2], forked, SCENE)) == [1, 10, 2, 20, 30]


def test_a_run_ends_where_it_is_told_to_stop_or_at_its_end() -> None:
    ends = Scene(end_time_s=50)
    assert end_of(SessionSpec(), Scene()) is None
    assert end_of(SessionSpec(stop_time_s=20), Scene()) == 20
    assert end_of(SessionSpec(stop_time_s=20), ends) == 20
    assert end_of(SessionSpec(stop_time_s=60), ends) == 50
