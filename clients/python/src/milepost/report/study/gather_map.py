"""The map of differences: the same edges in two variants, from the runs that were made once more with edge data."""

from collections import defaultdict
from collections.abc import Sequence

from milepost.blob.v1.blob_service_pb2 import BlobRef
from milepost.client import Milepost
from milepost.exceptions import MilepostError, NotFound
from milepost.report.study.model import DifferenceMap
from milepost.report.study.roads import Road, roads_of
from milepost.report.study.traffic import EdgeTraffic, means_of, traffic_of
from milepost.session.v1.session_pb2 import Session
from milepost.study.v1.study_pb2 import MapRun, Ranking, Study, StudyState

EDGES = "outputs/edges.xml"


class NoMap(Exception):
    """There is no map; says why, in words."""


async def difference_map(client: Milepost, study: Study, ranking: Ranking) -> DifferenceMap:
    """The map of a study. Raises NoMap, MilepostError for what is not about the map's own sessions."""
    runs = _compared(study, ranking)
    (variant, of_variant), (baseline, of_baseline) = runs
    seeds = sorted({run.seed for run in of_variant} & {run.seed for run in of_baseline})
    traffic: defaultdict[str, list[dict[str, EdgeTraffic]]] = defaultdict(list)
    session = Session()
    for run in (*of_variant, *of_baseline):
        if run.seed in seeds:
            try:
                session = await client.sessions.get(run.session_id, full=True)
            except NotFound:
                raise NoMap(f"session {run.session_id}, which was run for the map, is gone") from None
            traffic[run.variant].append(await _traffic(client, session))
    roads = await _roads(client, study, session)
    return DifferenceMap(
        shapes={road.edge_id: road.line for road in roads},
        variant=variant,
        baseline=baseline,
        of_variant=means_of(traffic[variant]),
        of_baseline=means_of(traffic[baseline]),
        seeds=seeds,
    )


def _compared(study: Study, ranking: Ranking) -> list[tuple[str, Sequence[MapRun]]]:
    """The two variants of the map with their runs, the baseline last. Raises NoMap."""
    if study.spec.design.HasField("map_seeds") and not study.spec.design.map_seeds:
        raise NoMap("none was asked for (map_seeds: 0)")
    if not study.map_runs:
        over = study.state in {StudyState.STUDY_STATE_COMPLETED, StudyState.STUDY_STATE_CANCELLED}
        raise NoMap("no run was made for it" if over else "it is made at the end of the study")
    by_variant: defaultdict[str, list[MapRun]] = defaultdict(list)
    for run in study.map_runs:
        if run.session_id and not run.failure:
            by_variant[run.variant].append(run)
    if len(by_variant) < 2:
        failures = dict.fromkeys(run.failure for run in study.map_runs if run.failure)
        raise NoMap("; ".join(failures) or "only one variant was run for it")
    order = {one.name: number for number, one in enumerate(ranking.variants)}
    names = sorted(by_variant, key=lambda name: (name == ranking.baseline, order.get(name, len(order))))
    first, last = names[0], names[-1]
    if not {run.seed for run in by_variant[first]} & {run.seed for run in by_variant[last]}:
        raise NoMap("the two variants were run for it on different seeds")
    return [(first, by_variant[first]), (last, by_variant[last])]


async def _traffic(client: Milepost, session: Session) -> dict[str, EdgeTraffic]:
    artifact = next((one for one in session.artifacts if one.name == EDGES), None)
    if artifact is None or artifact.truncated:
        raise NoMap(f"session {session.session_id} left no whole {EDGES}")
    try:
        return traffic_of([chunk async for chunk in client.artifacts.chunks(artifact)])
    except (ValueError, MilepostError) as error:
        raise NoMap(f"{EDGES} of session {session.session_id}: {error}") from error


async def _roads(client: Milepost, study: Study, session: Session) -> list[Road]:
    """The network's, from the scenario of a session, else of the study's base: variants rarely move a road."""
    for digest in (session.spec.scenario_digest, study.spec.base.scenario_digest):
        try:
            scenario = await client.scenarios.get(digest)
        except MilepostError:
            continue
        file = next((one for one in scenario.files if one.path == scenario.scene.net_file), None)
        if file is not None:
            try:
                content = await client.blobs.read(BlobRef(sha256=file.sha256, size_bytes=file.size_bytes))
                return roads_of([content])
            except (ValueError, MilepostError) as error:
                raise NoMap(f"the network could not be read: {error}") from error
    raise NoMap("the network's scenario is not on the list any more")
