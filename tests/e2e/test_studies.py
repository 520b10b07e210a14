"""A study from its request to its ranking, as a client sees it."""

import pytest
from study_specs import BEGIN_S, END_S, SCALES, demand, refused, spec_of

from milepost.event.v1.event_pb2 import Event
from milepost.intervention.v1.intervention_pb2 import Close, Intervention, Place
from milepost.session.v1.session_pb2 import MessagesKept, PlannedIntervention, SessionSpec, SessionState
from milepost.study.v1.study_pb2 import (
    Budget,
    Cell,
    CellState,
    Design,
    Direction,
    Objective,
    Patch,
    RacingDesign,
    Ranking,
    SessionPlace,
    Standing,
    Study,
    StudyBase,
    StudyEnd,
    StudySpec,
    StudyState,
    Variant,
)
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def study_of(stack: RunningStack, spec: StudySpec) -> Study:
    """The study, once it has ended."""
    created = await stack.client.studies.create(CreateStudyRequest(spec=spec))
    return await stack.client.studies.wait(created.study_id)


async def cells_of(stack: RunningStack, study: Study) -> list[Cell]:
    return [cell async for cell in stack.client.studies.cells(study.study_id)]


def told(ranking: Ranking) -> list[tuple[object, ...]]:
    """What a ranking says of each variant, best first."""
    return [(one.name, one.mean, one.probability_best, one.elo, one.to_leader.p_value) for one in ranking.variants]


async def test_variants_come_out_in_their_true_order_and_again_from_stored_results(
    stack: RunningStack, digest: str
) -> None:
    first = await study_of(stack, spec_of(digest, seeds=range(1, 4)))
    assert first.state == StudyState.STUDY_STATE_COMPLETED
    assert (first.end, first.progress.done, first.progress.sessions) == (StudyEnd.STUDY_END_ALL_CELLS, 12, 12)
    ranking = await stack.client.studies.ranking(first.study_id)
    assert [one.name for one in ranking.variants] == [f"x{scale}" for scale in SCALES]
    assert ranking.answer == first.answer
    for cell in await cells_of(stack, first):
        session = await stack.client.sessions.get(cell.session_id, full=True)
        assert (session.labels["milepost.variant"], session.spec.seed) == (cell.variant, cell.seed)
        # What SUMO has to say of a run without a warning is not kept; what the scenario writes is.
        kept = {artifact.name for artifact in session.artifacts}
        assert "outputs/e1.xml" in kept
        assert "sumo.log" not in kept
        kpis = session.results.kpis
        assert cell.value == kpis.running + kpis.mean_time_loss_s
    # The seeds in another order, the variants the same: nothing is simulated, and nothing is said differently.
    again = spec_of(digest, seeds=range(3, 0, -1))
    second = await study_of(stack, again)
    assert (second.progress.cached, second.progress.sessions) == (12, 0)
    assert told(await stack.client.studies.ranking(second.study_id)) == told(ranking)


@pytest.mark.slow
async def test_stored_results_are_simulated_again_when_asked_for(stack: RunningStack, digest: str) -> None:
    seeds = range(11, 13)
    first = await study_of(stack, spec_of(digest, seeds=seeds))
    without = await study_of(stack, spec_of(digest, seeds=seeds, design=Design(no_cache=True, map_seeds=0)))
    assert (without.progress.cached, without.progress.sessions) == (0, 8)
    verified = await study_of(stack, spec_of(digest, seeds=seeds, design=Design(verify_cached_share=1, map_seeds=0)))
    assert (verified.progress.cached, verified.progress.sessions) == (0, 8)
    before, after = await cells_of(stack, first), await cells_of(stack, verified)
    assert [cell.state_digest for cell in before] == [cell.state_digest for cell in after]
    assert not any(cell.cached_differs for cell in after)
    # Other inputs of the same name are other runs.
    longer = spec_of(digest, seeds=seeds)
    longer.session.end_time_s += 60
    assert (await study_of(stack, longer)).progress.cached == 0


@pytest.mark.slow
async def test_equal_variants_are_simulated_once(stack: RunningStack, digest: str) -> None:
    spec = spec_of(digest, seeds=range(91, 93))
    spec.variants.append(demand("x1 again", "1"))
    spec.session.messages = MessagesKept.MESSAGES_KEPT_ALWAYS
    study = await study_of(stack, spec)
    assert (study.progress.done, study.progress.sessions, study.progress.cached) == (10, 8, 2)
    cells = {(cell.variant, cell.seed): cell for cell in await cells_of(stack, study)}
    for seed in spec.seeds:
        assert cells["x1", seed].kpis == cells["x1 again", seed].kpis
        assert {cells["x1", seed].cached, cells["x1 again", seed].cached} == {True, False}
        session = await stack.client.sessions.get(cells["x1", seed].session_id, full=True)
        assert "sumo.log" in {artifact.name for artifact in session.artifacts}


@pytest.mark.slow
async def test_a_race_spends_its_seeds_on_those_that_may_still_win(stack: RunningStack, digest: str) -> None:
    racing = Design(racing=RacingDesign(first_seeds=2), baseline="x1", map_seeds=0)
    study = await study_of(stack, spec_of(digest, seeds=range(21, 37), design=racing))
    assert study.end == StudyEnd.STUDY_END_DECIDED
    assert study.progress.done < 4 * 16
    ranking = await stack.client.studies.ranking(study.study_id)
    assert [one.name for one in ranking.variants] == [f"x{scale}" for scale in SCALES]
    assert [one.standing for one in ranking.variants] == [Standing.STANDING_LEADING] + [Standing.STANDING_DROPPED] * 3
    assert [one.dropped_after_rung > 0 for one in ranking.variants] == [False, True, True, True]
    decisions = [one.text async for update in stack.client.studies.watch(study.study_id) for one in update.decisions]
    assert sum("dropped" in text for text in decisions) == 3
    assert decisions[-1] == study.answer


@pytest.mark.slow
async def test_a_run_without_a_value_costs_its_own_cell(stack: RunningStack, digest: str) -> None:
    spec = spec_of(digest, seeds=range(1, 3))
    # Nobody arrives where nobody departs: the mean over no trips is no number.
    spec.variants.append(demand("nobody", "0"))
    study = await study_of(stack, spec)
    assert (study.progress.done, study.progress.failed) == (8, 2)
    last = (await stack.client.studies.ranking(study.study_id)).variants[-1]
    assert (last.name, last.standing, last.failed) == ("nobody", Standing.STANDING_FAILED, 2)
    failed = [cell for cell in await cells_of(stack, study) if cell.state == CellState.CELL_STATE_FAILED]
    assert {(cell.variant, cell.failure) for cell in failed} == {("nobody", "the objective is undefined for this run")}


@pytest.mark.slow
async def test_a_variant_that_breaks_a_constraint_is_ranked_last_whatever_its_value(
    stack: RunningStack, digest: str
) -> None:
    spec = spec_of(digest, seeds=range(1, 3))
    cells = await cells_of(stack, await study_of(stack, spec))
    departed = {name: [cell.kpis.departed for cell in cells if cell.variant == name] for name in ("x0.4", "x0.7")}
    # What the best does and none of the others.
    spec.objective.constraints[:] = [f"departed > {max(departed['x0.4'])}"]
    assert min(departed["x0.7"]) > max(departed["x0.4"])
    ranking = await stack.client.studies.ranking((await study_of(stack, spec)).study_id)
    broke = [one.name for one in ranking.variants if one.findings]
    assert broke == [ranking.variants[-1].name] == ["x0.4"]
    assert ranking.variants[-1].standing == Standing.STANDING_INFEASIBLE
    assert list(ranking.variants[-1].findings[0].seeds) == [1, 2]


@pytest.mark.slow
async def test_a_budget_ends_a_study_and_stored_results_cost_nothing(stack: RunningStack, digest: str) -> None:
    seeds = range(41, 45)
    half = await study_of(stack, spec_of(digest, seeds=seeds, budget=Budget(sessions=6)))
    assert (half.end, half.progress.sessions) == (StudyEnd.STUDY_END_BUDGET, 6)
    rest = await study_of(stack, spec_of(digest, seeds=seeds, budget=Budget(sessions=10)))
    assert (rest.end, rest.progress.cached, rest.progress.sessions) == (StudyEnd.STUDY_END_ALL_CELLS, 6, 10)


@pytest.mark.slow
async def test_simulated_and_wall_time_end_a_study_too(stack: RunningStack, digest: str) -> None:
    spent = await study_of(stack, spec_of(digest, seeds=range(101, 121), budget=Budget(simulated_hours=0.1)))
    assert spent.end == StudyEnd.STUDY_END_BUDGET
    assert 0.1 * 3600 <= spent.progress.simulated_s < 80 * 180
    spec = spec_of(digest, seeds=range(121, 141), budget=Budget(wall_time_s=2))
    spec.session.end_time_s = BEGIN_S + 7200
    late = await study_of(stack, spec)
    assert (late.end, late.progress.failed) == (StudyEnd.STUDY_END_BUDGET, 0)
    mine = [one async for one in stack.client.sessions.list() if one.labels.get("milepost.study") == late.study_id]
    assert mine
    assert all(one.HasField("end_time") for one in mine)


@pytest.mark.slow
async def test_a_cancelled_study_leaves_no_session_running(stack: RunningStack, digest: str) -> None:
    spec = spec_of(digest, seeds=range(51, 71))
    spec.session.end_time_s = BEGIN_S + 3600
    created = await stack.client.studies.create(CreateStudyRequest(spec=spec))
    async for update in stack.client.studies.watch(created.study_id):
        if update.study.progress.running:
            break
    assert (await stack.client.studies.cancel(created.study_id)).state == StudyState.STUDY_STATE_CANCELLING
    study = await stack.client.studies.wait(created.study_id)
    assert study.state == StudyState.STUDY_STATE_CANCELLED
    mine = [one async for one in stack.client.sessions.list() if one.labels.get("milepost.study") == study.study_id]
    ended = {SessionState.SESSION_STATE_CANCELLED, SessionState.SESSION_STATE_COMPLETED}
    assert mine
    assert {one.state for one in mine} <= ended
    # An end stays the end.
    assert (await stack.client.studies.cancel(study.study_id)).state == StudyState.STUDY_STATE_CANCELLED


@pytest.mark.slow
async def test_the_log_of_a_study_is_read_and_watched_like_a_session_s(stack: RunningStack, digest: str) -> None:
    study = await study_of(stack, spec_of(digest, seeds=range(1, 3)))
    log = [event async for event in stack.client.events.watch(f"study-{study.study_id}") if isinstance(event, Event)]
    kinds = [event.WhichOneof("payload") for event in log]
    assert (kinds[0], kinds[1], kinds[-1]) == ("study_created", "seeds_added", "study_completed")
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert not [one async for one in stack.client.sessions.list() if one.session_id.startswith("study-")]


@pytest.mark.slow
async def test_a_study_may_begin_within_a_session(stack: RunningStack, digest: str) -> None:
    session = await stack.client.sessions.run(SessionSpec(scenario_digest=digest, seed=1, end_time_s=END_S))
    base = StudyBase(session=SessionPlace(session_id=session.session_id, sim_time_s=BEGIN_S + 60))
    objective = Objective(expression="arrived", direction=Direction.DIRECTION_MAXIMISE)
    study = await study_of(
        stack, StudySpec(base=base, variants=[Variant(name="as it was")], seeds=[1, 2], objective=objective)
    )
    same, other = await cells_of(stack, study)
    assert same.state_digest == session.results.state_digest != other.state_digest
    early = PlannedIntervention(
        at_time_s=BEGIN_S + 10, intervention=Intervention(close=Close(place=Place(edge_ids=["e"])))
    )
    wrong = StudySpec(
        base=base, variants=[Variant(name="v", patch=Patch(interventions=[early]))], seeds=[1], objective=objective
    )
    await refused(stack, wrong, "spec.variants[0].patch.interventions[0].at_time_s")


def closing(name: str, edge: str, at_s: float) -> Variant:
    change = Intervention(close=Close(place=Place(edge_ids=[edge]), vehicle_classes=["bus"]))
    return Variant(name=name, patch=Patch(interventions=[PlannedIntervention(at_time_s=at_s, intervention=change)]))


@pytest.mark.slow
async def test_variants_that_differ_late_begin_with_one_session_and_come_out_the_same(
    stack: RunningStack, digest: str, streets: list[str]
) -> None:
    spec = spec_of(digest, seeds=range(81, 83))
    del spec.variants[:]
    spec.variants.extend(closing(f"close {edge}", edge, BEGIN_S + 120) for edge in streets[:5])
    spec.design.CopyFrom(Design(no_cache=True, map_seeds=0))
    shared = await study_of(stack, spec)
    assert shared.progress.done == 10
    spec.design.no_shared_warm_up = True
    whole = await study_of(stack, spec)
    cells = [await cells_of(stack, study) for study in (shared, whole)]
    assert [cell.state_digest for cell in cells[0]] == [cell.state_digest for cell in cells[1]]
    assert [cell.kpis for cell in cells[0]] == [cell.kpis for cell in cells[1]]
    assert (shared.progress.sessions, whole.progress.sessions) == (12, 10)
    assert shared.progress.simulated_s == 2 * 120 + 10 * 60 < whole.progress.simulated_s == 10 * 180
    forks = [await stack.client.sessions.get(cell.session_id) for cell in cells[0]]
    assert all(one.forked_from.sim_time_s == BEGIN_S + 120 for one in forks)
    # The results are those of whole runs: another study takes them.
    spec.design.no_cache = False
    assert (await study_of(stack, spec)).progress.cached == 10


@pytest.mark.slow
async def test_a_thousand_variants_on_ten_seeds_are_queued_in_one_call(stack: RunningStack, digest: str) -> None:
    spec = spec_of(digest, seeds=range(1, 11))
    spec.variants.extend(demand(f"v{number}", f"{1 + number / 1e4:.4f}") for number in range(996))
    created = await stack.client.studies.create(CreateStudyRequest(spec=spec))
    async for update in stack.client.studies.watch(created.study_id):
        progress = update.study.progress
        if progress.running:
            break
    assert progress.cells == 10_000
    assert progress.done + progress.failed + progress.running + progress.waiting == 10_000
    await stack.client.studies.cancel(created.study_id)
    ended = await stack.client.studies.wait(created.study_id)
    assert ended.progress.sessions < 1000, "what was never begun need not be cancelled"
