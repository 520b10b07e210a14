"""Cells as sessions: their names, what they are created with, what they come to."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from milepost.session.v1.session_pb2 import CompletionReason, EdgeData, PlannedIntervention, Session, SessionSpec
from milepost.session.v1.session_pb2 import SessionState as State
from milepost.session.v1.session_service_pb2 import CreateSessionRequest, ForkSessionRequest
from milepost.study.v1.study_pb2 import Cell, CellState
from session_api.application.study.run_values import measure_of
from session_api.application.study.study_state import CellKey, StudySoFar
from session_api.domain.session_ids import STUDY_LABEL

# How long a copy of a warm-up's process waits for those that begin with it, s: a rung of many variants takes a while.
LINGER_S = 900.0
_NAMESPACE = uuid.UUID("6e8f0f6e-0f3c-5d5c-9f57-0d5f3f1c7a10")


def session_of(study: StudySoFar, key: CellKey) -> str:
    """Id of a cell's session."""
    return f"{study.study_id}-{key[0]}-{key[1]}"


def warm_up_session(study: StudySoFar, shared: tuple[int, int]) -> str:
    """Id of the session that the cells of a group begin with, on one seed."""
    return f"{study.study_id}-w{shared[0]}-{shared[1]}"


def map_session(study: StudySoFar, key: CellKey) -> str:
    """Id of a session for the map of differences."""
    return f"{study.study_id}-m{key[0]}-{key[1]}"


def run_key(study: StudySoFar, key: CellKey) -> str:
    """What a cell's result is stored by."""
    return hashlib.sha256(f"{study.plan.variants[key[0]].version}/{key[1]}".encode()).hexdigest()


def cell_request(study: StudySoFar, key: CellKey) -> CreateSessionRequest:
    """A cell from its begin."""
    return _request(study, key, session_of(study, key), _spec(study, key))


def map_request(study: StudySoFar, key: CellKey) -> CreateSessionRequest:
    """A cell once more, with edge data of what counts."""
    spec = _spec(study, key)
    spec.edge_data.CopyFrom(EdgeData())
    return _request(study, key, map_session(study, key), spec)


def warm_up_request(study: StudySoFar, shared: tuple[int, int], member: CellKey) -> CreateSessionRequest:
    """What the cells of a group have in common on one seed; `member` is any of them."""
    spec = _spec(study, member)
    until_s = study.plan.warm_up_until_s[shared[0] - 1]
    # Its end stays that of the cells: what SUMO makes of a flow may depend on it.
    spec.stop_time_s = until_s
    spec.linger_s = LINGER_S
    common = [one for one in spec.interventions if one.at_time_s < until_s]
    del spec.interventions[:]
    spec.interventions.extend(common)
    request = _request(study, member, warm_up_session(study, shared), spec)
    request.labels["milepost.variant"] = f"warm-up {shared[0]}"
    request.display_name = f"warm-up, seed {shared[1]}"
    return request


def fork_request(study: StudySoFar, shared: tuple[int, int], key: CellKey) -> ForkSessionRequest:
    """A cell from the end of its warm-up on."""
    whole = cell_request(study, key)
    until_s = study.plan.warm_up_until_s[shared[0] - 1]
    return ForkSessionRequest(
        session_id=warm_up_session(study, shared),
        request_id=str(uuid.uuid5(uuid.UUID(whole.request_id), "fork")),
        sim_time_s=until_s,
        new_session_id=whole.session_id,
        display_name=whole.display_name,
        labels=whole.labels,
        planned_interventions=_from(whole.spec, until_s),
        replan=True,
    )


def _from(spec: SessionSpec, time_s: float) -> Iterator[PlannedIntervention]:
    return (one for one in spec.interventions if one.at_time_s >= time_s)


def _spec(study: StudySoFar, key: CellKey) -> SessionSpec:
    spec = SessionSpec()
    spec.CopyFrom(study.plan.variants[key[0]].session)
    spec.seed = key[1]
    return spec


def _request(study: StudySoFar, key: CellKey, session_id: str, spec: SessionSpec) -> CreateSessionRequest:
    variant = study.plan.variants[key[0]].name
    return CreateSessionRequest(
        # Of one study and cell the same whoever asks: a replica that takes over creates nothing twice.
        request_id=str(uuid.uuid5(_NAMESPACE, f"{study.created.request_id}/{session_id}")),
        session_id=session_id,
        display_name=f"{variant}, seed {key[1]}",
        labels={STUDY_LABEL: study.study_id, "milepost.variant": variant, "milepost.seed": str(key[1])},
        spec=spec,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a session, apart from what it is worth."""

    session: Session
    own: bool = True
    """Whether it is a session of the tenant; a stored result may be another's."""
    cached: bool = False

    @property
    def failure(self) -> str:
        """Why it came to no result, in words; empty: it did."""
        match self.session.state:
            case State.SESSION_STATE_FAILED:
                return self.session.failure.message or "the session failed"
            case State.SESSION_STATE_CANCELLED:
                return "the session was cancelled"
        if self.session.results.reason == CompletionReason.COMPLETION_REASON_TERMINATED:
            return "the session was terminated before its end"
        return ""

    @property
    def simulated_s(self) -> float:
        """Simulated time that was spent, s."""
        if self.cached:
            return 0.0
        session = self.session
        begin_s = session.forked_from.sim_time_s if session.HasField("forked_from") else session.progress.begin_time_s
        return max(0.0, session.progress.sim_time_s - begin_s)


def finished_cell(study: StudySoFar, key: CellKey, outcome: Outcome) -> Cell:
    """The cell that a session makes."""
    cell = Cell(
        variant=study.plan.variants[key[0]].name,
        seed=key[1],
        session_id=outcome.session.session_id if outcome.own else "",
        cached=outcome.cached,
        simulated_s=outcome.simulated_s,
        state_digest=outcome.session.results.state_digest,
    )
    measure = measure_of(study.plan.spec.objective.SerializeToString())
    kpis = None if outcome.failure else measure.kpis_of(outcome.session)
    if kpis is None:
        cell.state = CellState.CELL_STATE_FAILED
        cell.failure = outcome.failure or f"the phase {measure.phase!r} did not come to its end"
        return cell
    worth = measure(kpis)
    cell.kpis.CopyFrom(kpis)
    cell.broken_constraints.extend(worth.broken)
    if worth.value is None:
        cell.state, cell.failure = CellState.CELL_STATE_FAILED, "the objective is undefined for this run"
    else:
        cell.state, cell.value = CellState.CELL_STATE_DONE, worth.value
    return cell
