"""The cells of a study: taken from stored results, begun as sessions, gathered when these are over."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from milepost.checkpoint.v1.checkpoint_pb2 import Exactness
from milepost.session.v1.session_pb2 import CompletionReason, Session
from milepost.session.v1.session_service_pb2 import CreateSessionRequest, ForkSessionRequest
from milepost.study.v1.study_event_pb2 import CellsFinished, MapRunFinished, WarmUpFinished
from milepost.study.v1.study_pb2 import Cell, CellState, MapRun
from session_api.application.study.cells import (
    Outcome,
    cell_request,
    finished_cell,
    fork_request,
    map_request,
    map_session,
    run_key,
    session_of,
    warm_up_request,
    warm_up_session,
)
from session_api.application.study.study_state import CellKey, StudySoFar
from session_api.application.study.study_window import StudyWindow
from session_api.gateways.results_sql import Results, StoredResult
from session_api.gateways.study_sessions import StudySessions

# Warm-ups that are there or under way at once: a worker keeps few sleeping copies.
_WARM_UPS_AT_ONCE = 4
# Cells looked up, or told of, at once.
_AT_ONCE = 1000


@dataclass(slots=True)
class StudyCells:
    """Those of one study."""

    window: StudyWindow
    results: Results
    sessions: StudySessions
    out_of_budget: bool = False
    """Whether cells are left that the budget has no session for."""
    _looked_up: set[CellKey] = field(default_factory=set)
    _expected: dict[CellKey, StoredResult] = field(default_factory=dict)
    """Stored results that are simulated again."""
    _cells: dict[str, CellKey] = field(default_factory=dict)
    _warm_ups: dict[str, tuple[int, int]] = field(default_factory=dict)
    _map_runs: dict[str, CellKey] = field(default_factory=dict)
    _whole: set[CellKey] = field(default_factory=set)
    """Cells that could not be forked: they are simulated from their begin."""

    async def finished(self, study: StudySoFar) -> list[Message]:
        """Events of what is over since: stored results first, then sessions."""
        cells = await self._stored(study)
        if not cells:
            return await self._over(study)
        return [CellsFinished(cells=cells)]

    async def begin(self, study: StudySoFar) -> list[Message]:
        """Begin what there is room for; events of what cannot be begun at all."""
        requests: list[CreateSessionRequest] = []
        forks: list[ForkSessionRequest] = []
        names: dict[str, CellKey] = {}
        room = self._affordable(study, self.window.room())
        warm_ups = set(self._warm_ups.values())
        if study.plan.warm_up_groups:
            waiting = {shared for key in study.open_cells if (shared := study.warm_up(key))}
            warm_ups |= waiting & study.warm_ups.keys()
        for key in study.open_cells:
            if len(requests) + len(forks) >= room:
                break
            name = session_of(study, key)
            if name in self.window.under_way or self._is_under_way(study, key, names):
                continue
            shared = None if key in self._whole else study.warm_up(key)
            if shared is None:
                requests.append(cell_request(study, key))
                names[name] = key
            elif shared in study.warm_ups:
                forks.append(fork_request(study, shared, key))
                names[name] = key
            elif shared not in warm_ups and len(warm_ups) < _WARM_UPS_AT_ONCE:
                warm_ups.add(shared)
                requests.append(warm_up_request(study, shared, key))
                self._warm_ups[warm_up_session(study, shared)] = shared
        self._cells |= names
        lost = await self.window.begin(requests) if requests else {}
        for name in await self.window.begin_forks(forks) if forks else ():
            # Whatever it was, there is another way.
            self._whole.add(names[name])
        return [*self._lost(study, lost)]

    async def begin_map_runs(self, study: StudySoFar, wanted: Sequence[CellKey]) -> list[Message]:
        """Begin sessions for the map; events of what cannot be begun at all."""
        requests = [map_request(study, key) for key in wanted if map_session(study, key) not in self.window.under_way]
        self._map_runs |= {map_session(study, key): key for key in wanted}
        lost = await self.window.begin(requests) if requests else {}
        return [*self._lost(study, lost)]

    def _affordable(self, study: StudySoFar, room: int) -> int:
        budget = study.plan.spec.budget
        left = room
        if budget.sessions:
            left = min(left, max(0, budget.sessions - study.sessions - len(self.window.under_way)))
        if budget.simulated_hours and study.simulated_s >= budget.simulated_hours * 3600:
            left = 0
        self.out_of_budget = left < room and left == 0
        return left

    async def _stored(self, study: StudySoFar) -> list[Cell]:
        """Cells whose results are stored."""
        if study.plan.spec.design.no_cache:
            return []
        wanted = [key for key in study.open_cells if key not in self._looked_up][:_AT_ONCE]
        if not wanted:
            return []
        found = await self.results.find(self.window.tenant, {run_key(study, key) for key in wanted})
        self._looked_up.update(wanted)
        cells: list[Cell] = []
        for key in wanted:
            stored = found.get(run_key(study, key))
            if stored is None or not self._same_build(stored):
                continue
            if _is_verified(run_key(study, key), study.plan.spec.design.verify_cached_share):
                self._expected[key] = stored
            else:
                cells.append(finished_cell(study, key, Outcome(stored.session, own=stored.own, cached=True)))
        return cells

    def _same_build(self, stored: StoredResult) -> bool:
        """Whether the pool's workers would compute it again; a pool without workers is what it was."""
        made = stored.session.execution
        there = {(one.sumo_version, one.libm_fingerprint) for one in self.window.fleet.workers(self.window.pool)}
        return not there or (made.sumo_version, made.libm_fingerprint) in there

    async def _over(self, study: StudySoFar) -> list[Message]:
        """Events of sessions that have ended."""
        self._forget_what_others_told(study)
        ended = await self.sessions.ended(self.window.tenant, self.window.under_way)
        told: list[Message] = []
        cells: list[Cell] = []
        kept: dict[str, Session] = {}
        for name, session in ended.items():
            outcome = Outcome(session)
            if name in self._cells:
                key = self._cells.pop(name)
                cell = finished_cell(study, key, outcome)
                if not outcome.failure and session.exactness == Exactness.EXACTNESS_EXACT:
                    kept[run_key(study, key)] = session
                if key in self._expected:
                    cell.cached_differs = _differs(self._expected.pop(key).session, session)
                cells.append(cell)
                cells += self._same(study, key, outcome)
            elif name in self._warm_ups:
                told.append(_warm_up(self._warm_ups.pop(name), outcome))
            elif name in self._map_runs:
                key = self._map_runs.pop(name)
                variant = study.plan.variants[key[0]].name
                run = MapRun(variant=variant, seed=key[1], session_id=name, failure=outcome.failure)
                told.append(MapRunFinished(run=run))
            self.window.under_way.discard(name)
        await self.results.put(self.window.tenant, kept)
        return [*([CellsFinished(cells=cells)] if cells else []), *told]

    def _is_under_way(self, study: StudySoFar, key: CellKey, beginning: Container[str]) -> bool:
        """Whether the very same run is simulated for another variant: it will be stored."""
        if study.plan.spec.design.no_cache:
            return False
        others = (session_of(study, (index, key[1])) for index in study.twins(key[0]))
        return any(name in beginning or name in self.window.under_way for name in others)

    def _same(self, study: StudySoFar, key: CellKey, outcome: Outcome) -> list[Cell]:
        """Cells of equal variants, which have waited for this run."""
        if study.plan.spec.design.no_cache or outcome.failure:
            return []
        twins = [(index, key[1]) for index in study.twins(key[0])]
        waiting = [it for it in twins if it in study.open_cells and session_of(study, it) not in self.window.under_way]
        return [finished_cell(study, it, Outcome(outcome.session, cached=True)) for it in waiting]

    def _forget_what_others_told(self, study: StudySoFar) -> None:
        """Sessions that another replica has told of."""
        told = {(study.index(run.variant), run.seed) for run in study.map_runs}
        over = [name for name, key in self._cells.items() if key in study.cells]
        over += [name for name, shared in self._warm_ups.items() if shared in study.warm_ups]
        over += [name for name, key in self._map_runs.items() if key in told]
        for name in over:
            for mine in (self._cells, self._warm_ups, self._map_runs):
                mine.pop(name, None)
        self.window.under_way.difference_update(over)

    def _lost(self, study: StudySoFar, lost: dict[str, str]) -> list[Message]:
        told: list[Message] = []
        cells: list[Cell] = []
        for name, why in lost.items():
            if name in self._cells:
                key = self._cells.pop(name)
                variant = study.plan.variants[key[0]].name
                cells.append(Cell(variant=variant, seed=key[1], state=CellState.CELL_STATE_FAILED, failure=why))
            elif name in self._warm_ups:
                shared = self._warm_ups.pop(name)
                told.append(WarmUpFinished(session_id=name, group=shared[0], seed=shared[1], failure=why))
            elif name in self._map_runs:
                key = self._map_runs.pop(name)
                run = MapRun(variant=study.plan.variants[key[0]].name, seed=key[1], failure=why)
                told.append(MapRunFinished(run=run))
        return [*([CellsFinished(cells=cells)] if cells else []), *told]


def _warm_up(shared: tuple[int, int], outcome: Outcome) -> WarmUpFinished:
    failure = outcome.failure
    if not failure and outcome.session.results.reason != CompletionReason.COMPLETION_REASON_END_TIME:
        failure = "it ended before the variants differ"
    return WarmUpFinished(
        session_id=outcome.session.session_id,
        group=shared[0],
        seed=shared[1],
        simulated_s=outcome.simulated_s,
        failure=failure,
    )


def _is_verified(run: str, share: float) -> bool:
    """The same runs in every study, and about that share of them."""
    return int(run[:8], 16) < share * 2**32


def _differs(stored: Session, again: Session) -> bool:
    return (stored.results, list(stored.phases)) != (again.results, list(again.phases))
