"""Which cells are simulated once more, with edge data, for the map of differences."""

from milepost.study.v1.study_pb2 import CellState, Ranking
from session_api.application.study.study_state import CellKey, StudySoFar


def wanted_map_runs(study: StudySoFar, ranking: Ranking) -> list[CellKey]:
    """The leader and the baseline, or the second where the baseline leads, on the first seeds both have."""
    design = study.plan.spec.design
    count = design.map_seeds if design.HasField("map_seeds") else 1
    if not count or len(ranking.variants) < 2 or not ranking.variants[0].runs:
        return []
    leader = ranking.variants[0].name
    other = ranking.baseline if ranking.baseline != leader else ranking.variants[1].name
    pair = [study.index(leader), study.index(other)]
    done = {key for key, cell in study.cells.items() if cell.state == CellState.CELL_STATE_DONE}
    both = [seed for seed in study.plan.seeds if all((index, seed) in done for index in pair)]
    return [(index, seed) for seed in both[:count] for index in pair]
