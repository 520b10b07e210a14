"""What variants add up to, what makes runs the same, and what they can share."""

import math

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy, RecoveryPolicy
from milepost.intervention.v1.intervention_pb2 import Close, Intervention, Place
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import ScenarioFile, Scene, SumoOption
from milepost.session.v1.session_pb2 import Engine, Limits, PlannedIntervention, Scheduling, SessionSpec
from milepost.study.v1.study_pb2 import Objective, Patch, Variant
from session_api.application.study.cell_key import version_of
from session_api.application.study.patches import merged_options, merged_patches
from session_api.application.study.plan_study import interval_steps
from session_api.application.study.run_values import KPI_CLASSES, Measure, kpi_values
from session_api.application.study.warm_ups import shared_warm_ups

SCENE = Scene(scenario_digest="d", begin_time_s=0, end_time_s=100, step_length_s=1)


def closing(edge: str, at_s: float) -> PlannedIntervention:
    return PlannedIntervention(at_time_s=at_s, intervention=Intervention(close=Close(place=Place(edge_ids=[edge]))))


def spec(*planned: PlannedIntervention, **fields: object) -> SessionSpec:
    return SessionSpec(scenario_digest="d", interventions=planned, **fields)


def shared(*specs: SessionSpec, scene: Scene = SCENE) -> tuple[list[int], list[float]]:
    return shared_warm_ups(specs, [scene] * len(specs))


def test_a_child_has_what_its_parents_have_and_its_own_instead() -> None:
    grand = Patch(options=[SumoOption(name="scale", value="1")], files=[ScenarioFile(path="a", sha256="1")])
    grand.parameters["cycle_s"].CopyFrom(Value(number_value=60))
    own = Patch(options=[SumoOption(name="scale", value="2"), SumoOption(name="x", value="y")])
    own.parameters["control"].CopyFrom(Value(string_value="actuated"))
    found = merged_patches(
        [
            Variant(name="grand", patch=grand),
            Variant(name="parent", parent="grand", patch=Patch(interventions=[closing("e", 5)])),
            Variant(name="child", parent="parent", patch=own),
        ]
    )[2]
    assert found.lineage == ("grand", "parent")
    assert found.options == {"scale": "2", "x": "y"}
    assert found.parameters == {"cycle_s": 60.0, "control": "actuated"}
    assert list(found.interventions) == [closing("e", 5)]
    assert list(found.files) == ["a"]


def test_options_that_come_later_win() -> None:
    first = [SumoOption(name="b", value="1"), SumoOption(name="a", value="1")]
    assert [(one.name, one.value) for one in merged_options(first, {"b": "2"}, {"c": "3"})] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]


def test_what_differs_late_begins_together_up_to_the_first_difference() -> None:
    both = closing("both", 10)
    assert shared(spec(both, closing("a", 50)), spec(both, closing("b", 40))) == ([1, 1], [40])
    # One that does nothing more differs from when the other does.
    assert shared(spec(both), spec(closing("b", 60), both)) == ([1, 1], [60])


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        ((spec(closing("a", 50)),), "alone"),
        ((spec(closing("a", 50)), spec(closing("a", 50))), "equal"),
        ((spec(closing("a", 5)), spec(closing("b", 90))), "too early to be worth it"),
        ((spec(closing("a", 50)), spec(closing("b", 50), stop_when_empty=True)), "another task"),
        (
            tuple(spec(closing(edge, 50), engine=Engine.ENGINE_TRACI) for edge in "ab"),
            "no copies of another program's process",
        ),
        (
            tuple(spec(closing(edge, 50), recovery=RecoveryPolicy.RECOVERY_POLICY_REBASE) for edge in "ab"),
            "its path leads over state files",
        ),
    ],
)
def test_what_cannot_be_shared_is_not(specs: tuple[SessionSpec, ...], why: str) -> None:
    assert shared(*specs) == ([0] * len(specs), []), why


def test_groups_are_apart() -> None:
    more = {"options": [SumoOption(name="scale", value="2")]}
    groups, until = shared(
        spec(closing("a", 50)), spec(closing("a", 30), **more), spec(closing("b", 60)), spec(**more), spec(seed=9)
    )
    assert groups == [1, 2, 1, 2, 0]
    assert until == [50, 30]


def test_only_what_results_follow_from_makes_a_version() -> None:
    base = version_of(spec(), SCENE, "pool")
    same = spec(seed=3, limits=Limits(wall_time_s=5), scheduling=Scheduling(pool="p"), linger_s=7, pace=2, messages=2)
    same.checkpoints.CopyFrom(CheckpointPolicy(every_sim_s=10))
    assert version_of(same, SCENE, "pool") == base
    other = [
        (spec(closing("e", 5)), SCENE, "pool"),
        (spec(engine=Engine.ENGINE_TRACI), SCENE, "pool"),
        (spec(interval_steps=7), SCENE, "pool"),
        (spec(), Scene(scenario_digest="d", end_time_s=99), "pool"),
        (spec(), SCENE, "another"),
    ]
    assert len({base, *(version_of(*one) for one in other)}) == 1 + len(other)
    path = spec(recovery=RecoveryPolicy.RECOVERY_POLICY_REBASE, checkpoints=CheckpointPolicy(every_sim_s=10))
    elsewhere = spec(recovery=RecoveryPolicy.RECOVERY_POLICY_REBASE, checkpoints=CheckpointPolicy(every_sim_s=20))
    assert version_of(path, SCENE, "pool") != version_of(elsewhere, SCENE, "pool")


def test_what_no_trip_and_no_vehicle_has_told_is_undefined() -> None:
    nothing = kpi_values(Kpis(mean_speed_mps=-1))
    assert {name for name, value in nothing.items() if value is None} == {
        "mean_speed_mps",
        *(name for name in KPI_CLASSES if name.startswith("mean_") and name != "mean_speed_mps"),
    }
    assert None not in kpi_values(Kpis(trips=1, mean_speed_mps=0)).values()


@given(st.floats(0, 1e6), st.integers(0, 100))
def test_a_run_is_worth_its_objective_and_breaks_what_it_does_not_keep(loss_s: float, collisions: int) -> None:
    measure = Measure.of(Objective(expression="2 * mean_time_loss_s", constraints=["collisions <= 3", "trips == 1"]))
    worth = measure(Kpis(trips=1, mean_time_loss_s=loss_s, collisions=collisions))
    assert worth.value is not None
    assert math.isclose(worth.value, 2 * loss_s)
    assert worth.broken == ((0,) if collisions > 3 else ())


@pytest.mark.parametrize(
    ("ends_s", "step_s", "steps"),
    [
        ([], 1.0, 60),
        ([300.0], 1.0, 60),
        ([2400.0], 1.0, 60),
        ([2401.0], 1.0, 120),
        ([3600.0, 600.0], 1.0, 120),
        ([3600.0], 0.1, 900),
        ([86400.0], 1.0, 3600),
        ([1e9], 1.0, 3600),
    ],
)
def test_cells_have_as_many_intervals_as_a_curve_wants(ends_s: list[float], step_s: float, steps: int) -> None:
    begin_s = 25200.0
    scenes = [Scene(begin_time_s=begin_s, end_time_s=begin_s + end_s, step_length_s=step_s) for end_s in ends_s]
    assert interval_steps([*scenes, Scene(begin_time_s=begin_s, step_length_s=step_s)]) == steps
