"""Retention: ended sessions go in time, what is listed or goes on keeps its files."""

import asyncio
from pathlib import Path

from running_api import BEGIN_S, PATIENCE_S, Api, refusal, running_api

from broker import Broker
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.blob.v1 import blob_service_pb2 as blob
from milepost.event.v1.event_pb2 import SessionCompleted
from milepost.scenario.v1 import scenario_service_pb2 as scenarios
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Limits

# The store takes at once what nothing keeps; the reaper is slow, so that the test says when.
AT_ONCE = {"blob_lease_s": 0.0, "purge_delay_s": 0.0}
SELDOM = 3600.0


async def ended(api: Api, **fields: object) -> str:
    worker = await api.running(20, **fields)
    await worker.append(SessionCompleted())
    await api.until(worker.session_id, lambda session: session.HasField("end_time"))
    return worker.session_id


async def retire(api: Api, *, dry_run: bool = False) -> list[str]:
    answer = await api.admin.ApplyRetention(admin.ApplyRetentionRequest(dry_run=dry_run), timeout=PATIENCE_S)
    return [session.session_id for session in answer.sessions]


async def clean_up(api: Api) -> admin.CleanUpResponse:
    return await api.store.admin.CleanUp(admin.CleanUpRequest(), timeout=PATIENCE_S)


async def dropped(api: Api, sessions: int) -> None:
    """Clean up until so many deleted sessions are gone: their deletion has to be stored before."""
    async with asyncio.timeout(PATIENCE_S):
        while sessions := sessions - (await clean_up(api)).dropped_sessions:
            pass


async def missing(api: Api, digests: set[str]) -> set[str]:
    request = blob.FindMissingBlobsRequest(sha256=digests)
    return set((await api.store.blobs.FindMissingBlobs(request, timeout=PATIENCE_S)).sha256)


async def files_of(api: Api) -> set[str]:
    """Blobs of the scenario that the sessions run."""
    request = scenarios.GetScenarioRequest(digest=api.scenario_digest)
    scenario = (await api.scenarios.GetScenario(request, timeout=PATIENCE_S)).scenario
    return {scenario.digest, *(file.sha256 for file in scenario.files)}


async def pin_a_checkpoint(api: Api, name: str) -> None:
    worker = await api.running(20, session_id=name)
    call = api.sessions.CreateCheckpoint(pb.CreateCheckpointRequest(session_id=name))
    made = await worker.make_checkpoint()
    await call
    await worker.append(SessionCompleted())
    request = pb.PinCheckpointRequest(session_id=name, checkpoint_id=made.checkpoint_id, pinned=True)
    await api.sessions.PinCheckpoint(request)


async def test_an_ended_session_goes_when_its_time_is_over_unless_something_of_it_is_pinned(
    broker: Broker, tmp_path: Path
) -> None:
    async with running_api(tmp_path / "api", broker.url, reap_s=SELDOM, keep_ended_s=1e-6) as api:
        old = await ended(api, session_id="old")
        await ended(api, session_id="wants-to-stay", limits=Limits(keep_ended_s=3600))
        await pin_a_checkpoint(api, "pinned")
        await api.running(20, session_id="runs")
        await api.until("pinned", lambda session: session.checkpoints and session.checkpoints[0].pinned)
        assert await retire(api, dry_run=True) == [old]
        assert not (await api.get(old)).HasField("delete_time")
        assert await retire(api) == [old]
        gone = await api.get(old)
        assert gone.HasField("delete_time")
        commands = [event.command_requested for event in await api.events(old) if event.HasField("command_requested")]
        assert (commands[-1].asked_by, commands[-1].HasField("delete")) == ("retention", True)
        assert await retire(api) == []


async def test_a_session_may_say_itself_how_long_it_is_kept(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, reap_s=0.02) as api:
        kept = await ended(api)
        short = await ended(api, limits=Limits(keep_ended_s=0.1))
        await api.until(short, lambda session: session.HasField("delete_time"))
        assert not (await api.get(kept)).HasField("delete_time")


async def test_the_files_of_a_listed_scenario_stay_though_no_session_names_them(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, of_store=AT_ONCE, undelete_window_s=0.0, reap_s=0.02) as api:
        await ended(api)
        files = await files_of(api)
        # The other one is the demo's that brought the scenario; nobody runs it.
        listed = (await api.sessions.ListSessions(pb.ListSessionsRequest())).sessions
        for session in listed:
            if not session.HasField("end_time"):
                await api.sessions.CancelSession(pb.CancelSessionRequest(session_id=session.session_id))
            await api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id=session.session_id))
        await dropped(api, len(listed))
        assert await missing(api, files) == set()
        await api.scenarios.DeleteScenario(scenarios.DeleteScenarioRequest(digest=api.scenario_digest))
        assert (await clean_up(api)).erased_blobs == len(files)
        assert await missing(api, files) == files


async def test_a_fork_outlives_its_parent_unharmed(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, of_store=AT_ONCE, undelete_window_s=0.0, reap_s=0.02) as api:
        worker = await api.running(20)
        parent = worker.session_id
        await api.change_much(worker)
        await worker.simulate(30)
        await worker.append(SessionCompleted())
        await api.until(parent, lambda session: session.HasField("end_time"))
        request = pb.ForkSessionRequest(session_id=parent, sim_time_s=BEGIN_S + 30, end_time_s=BEGIN_S + 100)
        child = (await api.sessions.ForkSession(request)).session
        await api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id=parent))
        before = await api.events(child.session_id)
        await dropped(api, 1)
        refused = await refusal(api.sessions.GetSession(pb.GetSessionRequest(session_id=parent)))
        assert refused.reason == "SESSION_NOT_FOUND"
        assert await api.events(child.session_id) == before
        assert child.forked_from.past_sha256, "its past is too large for its first event"
        assert await missing(api, {child.forked_from.past_sha256, *await files_of(api)}) == set()
        worker = await api.worker(child.session_id).begin(step=30)
        await worker.simulate(50)
        await worker.append(SessionCompleted())
        await api.until(child.session_id, lambda session: session.HasField("end_time"))


async def test_runs_that_were_cut_are_not_simulated_again_and_everything_else_goes_on(
    broker: Broker, tmp_path: Path
) -> None:
    of_store = {"cut_runs_after_s": 1e-6}
    async with running_api(tmp_path / "api", broker.url, of_store=of_store) as api:
        name = await ended(api)
        for _ in range(2):
            await api.sessions.RestartSession(pb.RestartSessionRequest(session_id=name))
            worker = await api.worker(name).begin()
            await worker.simulate(30)
            await worker.append(SessionCompleted())
        await api.until(name, lambda session: session.run == 3 and session.HasField("end_time"))
        before, seen = await api.events(name), await api.get(name)
        # Two intervals of run 1, three of run 2.
        assert (await clean_up(api)).cut_events == 5
        assert await api.get(name) == seen
        page = await api.store.read(name, kept_only=True)
        kept = [event for event in before if event.run == 3 or not event.HasField("interval_closed")]
        assert (list(page.events), page.next_cursor) == (kept, 0)
        assert page.oldest_seq == next(event.seq for event in before if event.run_opened.run == 3)
        assert (await refusal(api.store.read(name))).reason == "CURSOR_TOO_OLD"
        refused = await refusal(api.sessions.VerifySession(pb.VerifySessionRequest(session_id=name, run=2)))
        assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["run"])
        # It goes on as ever: a fourth run, from a place of the third.
        request = pb.RollbackSessionRequest(session_id=name, sim_time_s=BEGIN_S + 20)
        await api.sessions.RollbackSession(request)
        worker = await api.worker(name).begin(step=20)
        await worker.simulate(30)
        await worker.append(SessionCompleted())
        await api.until(name, lambda session: session.run == 4 and session.HasField("end_time"))
        # What it continues stays.
        assert (await clean_up(api)).cut_events == 0
