"""Which variants can begin with one shared session, and up to when."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Engine, PlannedIntervention, SessionSpec

# Sharing has to save this share of a run at least: a fork and its order cost some time of their own.
LEAST_SHARE = 0.1


def shared_warm_ups(specs: Sequence[SessionSpec], scenes: Sequence[Scene]) -> tuple[list[int], list[float]]:
    """For each variant the number of its group, from 1 (0: none); and up to when each group is the same, s.

    Variants of a group differ in their planned interventions only, and not before that time.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    for index, spec in enumerate(specs):
        if _can_share(spec) and scenes[index].HasField("end_time_s"):
            alike[_but_interventions(spec)].append(index)
    groups, until = [0] * len(specs), list[float]()
    for members in alike.values():
        begin_s, end_s = scenes[members[0]].begin_time_s, scenes[members[0]].end_time_s
        time_s = _differ_at([planned(specs[index]) for index in members])
        if len(members) > 1 and begin_s + LEAST_SHARE * (end_s - begin_s) <= time_s < end_s:
            until.append(time_s)
            for index in members:
                groups[index] = len(until)
    return groups, until


def planned(spec: SessionSpec) -> list[PlannedIntervention]:
    """What is planned, in the order in which it is applied."""
    return sorted(spec.interventions, key=lambda one: one.at_time_s)


def _can_share(spec: SessionSpec) -> bool:
    exact = spec.recovery in (
        RecoveryPolicy.RECOVERY_POLICY_UNSPECIFIED,
        RecoveryPolicy.RECOVERY_POLICY_EXACT,
    )
    return exact and spec.engine != Engine.ENGINE_TRACI


def _but_interventions(spec: SessionSpec) -> bytes:
    same = SessionSpec()
    same.CopyFrom(spec)
    same.ClearField("interventions")
    return same.SerializeToString(deterministic=True)


def _differ_at(plans: Sequence[Sequence[PlannedIntervention]]) -> float:
    """Time of the earliest intervention that not all have in common; infinite: there is none."""
    common = sum(1 for _ in takewhile(lambda step: all(one == step[0] for one in step), zip(*plans, strict=False)))
    return min((plan[common].at_time_s for plan in plans if len(plan) > common), default=math.inf)
