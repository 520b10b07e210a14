"""Delete, undelete, and the reaper."""

from pathlib import Path
from typing import Any

import pytest
from running_api import Api, refusal, running_api

from broker import Broker
from milepost.event.v1.event_pb2 import Paused, SessionCompleted
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import CompletionReason, Limits, SessionState


async def listed(api: Api, **fields: Any) -> set[str]:
    return {
        session.session_id for session in (await api.sessions.ListSessions(pb.ListSessionsRequest(**fields))).sessions
    }


async def ended(api: Api) -> str:
    worker = await api.running(20)
    await worker.append(SessionCompleted())
    await api.until(worker.session_id, lambda session: session.HasField("end_time"))
    return worker.session_id


async def test_a_deleted_session_is_hidden_until_it_is_undeleted(api: Api) -> None:
    name = await ended(api)
    deleted = (await api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id=name))).session
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == pytest.approx(7 * 86400, abs=2)
    assert name not in await listed(api)
    assert name in await listed(api, show_deleted=True)
    assert (await api.get(name)).HasField("delete_time")
    refused = await refusal(api.sessions.ResumeSession(pb.ResumeSessionRequest(session_id=name)))
    assert (refused.reason, refused.metadata["legal_verbs"]) == ("INVALID_TRANSITION", "undelete")
    there = (await api.sessions.UndeleteSession(pb.UndeleteSessionRequest(session_id=name))).session
    assert not there.HasField("delete_time")
    assert name in await listed(api)
    assert (await api.kinds(name))[-6:] == [
        "command_requested",
        "session_deleted",
        "command_applied",
        "command_requested",
        "session_undeleted",
        "command_applied",
    ]


async def test_a_running_session_is_not_deleted_and_one_that_is_there_not_undeleted(api: Api) -> None:
    worker = await api.running(20)
    for call in (
        api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id=worker.session_id)),
        api.sessions.UndeleteSession(pb.UndeleteSessionRequest(session_id=worker.session_id)),
    ):
        assert (await refusal(call)).reason == "INVALID_TRANSITION"


async def test_after_the_undelete_window_a_session_is_gone_for_every_call(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, undelete_window_s=0.0, reap_s=0.02) as api:
        name = await ended(api)
        await api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id=name))
        refused = await refusal(api.sessions.UndeleteSession(pb.UndeleteSessionRequest(session_id=name)))
        assert refused.reason == "SESSION_NOT_FOUND"
        while name in await listed(api, show_deleted=True):
            pass
        refused = await refusal(api.sessions.GetSession(pb.GetSessionRequest(session_id=name)))
        assert refused.reason == "SESSION_NOT_FOUND"


async def test_a_suspended_session_nobody_commands_is_terminated_by_the_reaper(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, reap_s=0.02) as api:
        kept = await api.create(limits=Limits(idle_ttl_s=3600))
        session = await api.create(limits=Limits(idle_ttl_s=0.2))
        for name in (kept.session_id, session.session_id):
            await api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id=name))
        reaped = await api.until(session.session_id, lambda s: s.HasField("end_time"))
        assert reaped.state == SessionState.SESSION_STATE_COMPLETED
        assert reaped.results.reason == CompletionReason.COMPLETION_REASON_TERMINATED
        command = (await api.events(session.session_id))[3].command_requested
        assert (command.asked_by, command.HasField("terminate")) == ("reaper", True)
        assert (await api.get(kept.session_id)).state == SessionState.SESSION_STATE_SUSPENDED


async def test_a_paused_session_nobody_commands_is_terminated_by_its_worker(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, reap_s=0.02) as api:
        worker = await api.running(20, limits=Limits(idle_ttl_s=0.2))
        await worker.append(Paused())
        command = await worker.next_command()
        assert (command.asked_by, command.HasField("terminate")) == ("reaper", True)
        await worker.simulate(30)
        assert (await api.kinds(worker.session_id)).count("command_requested") == 1
