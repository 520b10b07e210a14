"""Which variants a study's report draws, and why it has no map."""

import pytest

from milepost.client import Milepost
from milepost.report.study.gather_curves import drawn_variants
from milepost.report.study.gather_map import NoMap, difference_map
from milepost.study.v1.study_pb2 import MapRun, RankedVariant, Ranking, Study, StudyState

COMPLETED = StudyState.STUDY_STATE_COMPLETED


def ranking(*names: str, baseline: str) -> Ranking:
    """A ranking of variants; one whose name ends with `?` has no runs."""
    variants = [RankedVariant(rank=1, name=name.rstrip("?"), runs=0 if name.endswith("?") else 3) for name in names]
    return Ranking(variants=variants, baseline=baseline)


@pytest.mark.parametrize(
    ("names", "baseline", "drawn"),
    [
        (("a", "b", "c", "d"), "d", ["a", "d", "b"]),
        (("a", "b", "c", "d"), "a", ["a", "b", "c"]),
        (("a", "b"), "b", ["a", "b"]),
        (("a", "b?"), "b", ["a"]),
        (("a?",), "a", []),
    ],
)
def test_the_leader_and_the_baseline_are_drawn_first_and_nothing_without_runs(names, baseline, drawn):
    assert drawn_variants(ranking(*names, baseline=baseline)) == drawn


@pytest.mark.parametrize(
    ("state", "runs", "why"),
    [
        (StudyState.STUDY_STATE_RUNNING, [], "it is made at the end of the study"),
        (COMPLETED, [], "no run was made for it"),
        (COMPLETED, [MapRun(variant="a", seed=1, session_id="s"), MapRun(variant="b", failure="gone")], "gone"),
        (COMPLETED, [MapRun(variant="a", seed=1, session_id="s")], "only one variant was run for it"),
        (
            COMPLETED,
            [MapRun(variant="a", seed=1, session_id="s"), MapRun(variant="b", seed=2, session_id="t")],
            "the two variants were run for it on different seeds",
        ),
    ],
)
async def test_why_there_is_no_map_is_said(state, runs, why):
    async with Milepost.connect() as client:
        with pytest.raises(NoMap, match=why):
            await difference_map(client, Study(state=state, map_runs=runs), ranking("a", "b", baseline="b"))


async def test_a_study_that_asked_for_no_map_has_none():
    study = Study(state=COMPLETED)
    study.spec.design.map_seeds = 0
    async with Milepost.connect() as client:
        with pytest.raises(NoMap, match="map_seeds: 0"):
            await difference_map(client, study, ranking("a", "b", baseline="b"))
