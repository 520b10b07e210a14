"""UpdateSession: the mask, the etag, what is legal where, what is refused."""

import asyncio
from typing import Any

import pytest
from running_api import BEGIN_S, Api, refusal

from milepost.event.v1.event_pb2 import SessionCompleted
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import SessionSpec, SessionState

pytestmark = [pytest.mark.any_database, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


def update(session_id: str, *paths: str, etag: str = "", spec: SessionSpec | None = None, **fields: Any) -> Any:
    request = pb.UpdateSessionRequest(session_id=session_id, etag=etag, spec=spec, **fields)
    request.update_mask.paths.extend(paths)
    return request


async def test_names_labels_and_limits_change_while_a_worker_runs_the_session_and_nothing_else_does(api: Api) -> None:
    worker = await api.running(20, seed=5)
    spec = SessionSpec(seed=99)
    spec.limits.wall_time_s = 60
    request = update(
        worker.session_id,
        "display_name",
        "labels",
        "spec.limits",
        display_name="new",
        labels={"b": "2", "a": "1"},
        spec=spec,
    )
    session = (await api.sessions.UpdateSession(request)).session
    assert (session.display_name, dict(session.labels)) == ("new", {"a": "1", "b": "2"})
    assert (session.spec.limits.wall_time_s, session.spec.seed) == (60, 5)
    assert session.state == SessionState.SESSION_STATE_RUNNING
    requested, updated, applied = (await api.events(worker.session_id))[-3:]
    assert list(requested.command_requested.update.update_mask) == ["display_name", "labels", "spec.limits"]
    assert requested.command_requested.update.spec.seed == 0
    assert [label.key for label in updated.session_updated.labels] == ["a", "b"]
    assert applied.HasField("command_applied")
    later = update(worker.session_id, "display_name", display_name="newer")
    session = (await api.sessions.UpdateSession(later)).session
    assert (session.display_name, dict(session.labels), session.spec.limits.wall_time_s) == (
        "newer",
        {"a": "1", "b": "2"},
        60,
    )


async def test_the_task_is_not_changed_under_a_worker(api: Api) -> None:
    worker = await api.running(20)
    refused = await refusal(
        api.sessions.UpdateSession(update(worker.session_id, "spec.seed", spec=SessionSpec(seed=1)))
    )
    assert (refused.reason, refused.metadata["verb"]) == ("INVALID_TRANSITION", "update-task")


async def test_before_the_start_seed_options_and_end_change_what_is_run(api: Api) -> None:
    session = await api.create(create_only=True)
    spec = SessionSpec(seed=7, end_time_s=BEGIN_S + 50, options=[SumoOption(name="time-to-teleport", value="99")])
    request = update(session.session_id, "spec.seed", "spec.options", "spec.end_time_s", spec=spec)
    changed = (await api.sessions.UpdateSession(request)).session
    assert (changed.spec.seed, changed.scene.end_time_s) == (7, BEGIN_S + 50)
    assert SumoOption(name="time-to-teleport", value="99") in changed.scene.options
    without = (await api.sessions.UpdateSession(update(session.session_id, "spec.end_time_s"))).session
    assert not without.spec.HasField("end_time_s")
    assert without.scene.end_time_s == session.scene.end_time_s
    assert without.progress.end_time_s == session.scene.end_time_s


async def test_options_of_a_run_that_has_begun_count_from_the_restart_on(api: Api) -> None:
    worker = await api.running(20)
    await worker.append(SessionCompleted())
    option = SumoOption(name="time-to-teleport", value="99")
    request = update(worker.session_id, "spec.options", spec=SessionSpec(options=[option]))
    changed = (await api.sessions.UpdateSession(request)).session
    assert list(changed.spec.options) == [option]
    assert option not in changed.scene.options
    restarted = (await api.sessions.RestartSession(pb.RestartSessionRequest(session_id=worker.session_id))).session
    assert option in restarted.scene.options


@pytest.mark.parametrize(
    ("paths", "spec", "field"),
    [
        (["spec.engine"], SessionSpec(), "update_mask"),
        ([], SessionSpec(), "update_mask"),
        (["spec.seed"], SessionSpec(seed=2**31), "spec.seed"),
        (["spec.end_time_s"], SessionSpec(end_time_s=BEGIN_S - 1), "spec.end_time_s"),
        (["spec.options"], SessionSpec(options=[SumoOption(name="net-file", value="x")]), "spec.options"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_field(
    api: Api, paths: list[str], spec: SessionSpec, field: str
) -> None:
    session = await api.create(create_only=True)
    refused = await refusal(api.sessions.UpdateSession(update(session.session_id, *paths, spec=spec)))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", [field])
    assert await api.kinds(session.session_id) == ["session_created"]


async def test_of_two_who_read_the_same_etag_one_may_write(api: Api) -> None:
    session = await api.create(create_only=True)
    requests = [
        update(session.session_id, "display_name", etag=session.etag, display_name=name) for name in ("one", "two")
    ]
    answers = await asyncio.gather(*map(api.sessions.UpdateSession, requests), return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, pb.UpdateSessionResponse)]
    assert len(won) == 1
    refused = await refusal(api.sessions.UpdateSession(requests[0]))
    assert (refused.reason, refused.metadata["etag"]) == ("ETAG_MISMATCH", won[0].session.etag)
    again = update(session.session_id, "display_name", etag=won[0].session.etag, display_name="three")
    assert (await api.sessions.UpdateSession(again)).session.display_name == "three"
