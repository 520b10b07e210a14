"""The projection, made anew from the logs while it serves, says what it said (log.md R17)."""

import asyncio
from pathlib import Path

from running_api import PATIENCE_S, Api, refusal, running_api
from sqlalchemy import delete, select, update

from broker import Broker
from databases import url_of
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.event.v1.event_pb2 import Paused, SessionCompleted, SessionFailed
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Session
from runtime.database import open_database
from session_api.gateways.tables import feed, outcomes, requests, sessions
from session_api.main import MIGRATIONS


async def rebuild(api: Api) -> admin.RebuildSessionsResponse:
    return await api.admin.RebuildSessions(admin.RebuildSessionsRequest(), timeout=PATIENCE_S)


async def listed(api: Api) -> list[str]:
    request = pb.ListSessionsRequest(page_size=500, show_deleted=True)
    return [session.session_id for session in (await api.sessions.ListSessions(request)).sessions]


async def all_sessions(api: Api) -> dict[str, Session]:
    return {session_id: await api.get(session_id) for session_id in await listed(api)}


async def of_every_kind(api: Api) -> None:
    """Sessions in all sorts of states, their projection level with their logs."""
    await api.create(session_id="created", create_only=True)
    await api.create(session_id="pending")
    await (await api.running(20, session_id="running")).simulate(30)
    ended = await api.running(20, session_id="ended")
    await ended.append(SessionCompleted())
    failed = await api.running(10, session_id="failed")
    await failed.append(SessionFailed())
    again = await api.running(20, session_id="again")
    await again.append(SessionCompleted())
    await api.until("again", lambda session: session.HasField("end_time"))
    await api.sessions.RestartSession(pb.RestartSessionRequest(session_id="again"))
    await api.worker("again").begin()
    await api.until("ended", lambda session: session.HasField("end_time"))
    await api.sessions.ForkSession(pb.ForkSessionRequest(session_id="ended", new_session_id="fork"))
    await api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id="ended"))
    await api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id="pending"))
    pausing = api.sessions.SetPace(pb.SetPaceRequest(session_id="running", paused=True), timeout=PATIENCE_S)
    await api.worker("running").apply(Paused())
    await pausing
    for name in ("created", "pending", "running", "ended", "failed", "again", "fork"):
        head = (await api.worker(name).log()).place.seq
        await api.until(name, lambda session, head=head: session.seq >= head)


async def test_what_is_right_is_found_right(api: Api) -> None:
    await of_every_kind(api)
    before = await all_sessions(api)
    assert len(before) == 8
    rebuilt = await rebuild(api)
    assert (rebuilt.sessions, list(rebuilt.changed), list(rebuilt.removed)) == (8, [], [])
    assert await all_sessions(api) == before


async def test_what_was_lost_or_wrong_is_made_anew_and_request_ids_stay(broker: Broker, tmp_path: Path) -> None:
    request = pb.ForkSessionRequest(
        session_id="ended", new_session_id="once", request_id="8f0e2f6e-5f0e-4bd3-a2a6-0d7c4a8f4a53"
    )
    url = url_of(tmp_path / "api" / "api.db")
    async with running_api(tmp_path / "api", broker.url) as api:
        await of_every_kind(api)
        await api.sessions.UndeleteSession(pb.UndeleteSessionRequest(session_id="ended"))
        await api.sessions.ForkSession(request)
        before = await all_sessions(api)
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.begin() as connection:
        settled = set((await connection.execute(select(outcomes))).all())
        known = set((await connection.execute(select(requests))).all())
        row = (await connection.execute(select(sessions).where(sessions.c.session_id == "failed"))).mappings().one()
        await connection.execute(delete(sessions).where(sessions.c.session_id.in_(["ended", "running"])))
        await connection.execute(delete(outcomes).where(outcomes.c.session_id.in_(["again", "ended"])))
        wrong = Session.FromString(row["resource"])
        wrong.display_name, wrong.progress.step = "wrong", 7
        mine = sessions.c.session_id == "failed"
        await connection.execute(update(sessions).where(mine).values(resource=wrong.SerializeToString(), state=4))
        # As the release before left them.
        await connection.execute(update(sessions).where(sessions.c.session_id == "fork").values(ended_at=None, state=1))
        await connection.execute(sessions.insert().values({**row, "session_id": "ghost"}))
    async with running_api(tmp_path / "api", broker.url) as api:
        rebuilt = await rebuild(api)
        assert sorted(rebuilt.changed) == ["again", "ended", "failed", "fork", "running"]
        assert list(rebuilt.removed) == ["ghost"]
        assert await all_sessions(api) == before
        assert (await api.sessions.ForkSession(request)).session.session_id == "once"
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.connect() as connection:
        assert set((await connection.execute(select(outcomes))).all()) == settled
        assert set((await connection.execute(select(requests))).all()) == known


async def test_sessions_that_go_on_meanwhile_lose_nothing(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url) as api:
        workers = [await api.running(10, session_id=f"s{n}") for n in range(3)]
        stop = asyncio.Event()

        async def go_on() -> None:
            while not stop.is_set():
                for worker in workers:
                    await worker.simulate(worker.step + 10)
                await api.create()

        going = asyncio.create_task(go_on())
        seen = {worker.session_id: 0 for worker in workers}
        for _ in range(5):
            assert not (await rebuild(api)).removed
            for name, seq in seen.items():
                seen[name] = (await api.get(name)).seq
                assert seen[name] >= seq
        stop.set()
        await going
        for worker in workers:
            session = await api.until(worker.session_id, lambda s, step=worker.step: s.progress.step == step)
            assert session.progress.kpis.arrived == worker.step


async def test_an_empty_projection_fills_itself_from_the_store(broker: Broker, tmp_path: Path) -> None:
    """Also with logs whose beginnings were cut: what is left is enough."""
    cut = {"cut_runs_after_s": 1e-6}
    async with running_api(tmp_path / "api", broker.url, of_store=cut) as api:
        await of_every_kind(api)
        worker = api.worker("again")
        worker.step = 0
        await worker.simulate(30)
        await worker.append(SessionCompleted())
        await api.until("again", lambda session: session.HasField("end_time"))
        assert (await api.store.admin.CleanUp(admin.CleanUpRequest(), timeout=PATIENCE_S)).cut_sessions == 1
        before = await all_sessions(api)
    url = url_of(tmp_path / "api" / "api.db")
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.begin() as connection:
        for table in (sessions, outcomes, feed):
            await connection.execute(delete(table))
    async with running_api(tmp_path / "api", broker.url) as api:
        async with asyncio.timeout(PATIENCE_S):
            while await all_sessions(api) != before:
                await asyncio.sleep(0.05)
        assert not (await rebuild(api)).changed


async def test_what_is_gone_for_good_does_not_come_back(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, undelete_window_s=0.0, reap_s=0.02) as api:
        await (await api.running(10, session_id="s")).append(SessionCompleted())
        await api.until("s", lambda session: session.HasField("end_time"))
        await api.sessions.DeleteSession(pb.DeleteSessionRequest(session_id="s"))
        async with asyncio.timeout(PATIENCE_S):
            while "s" in await listed(api):
                await asyncio.sleep(0.02)
        assert not (await rebuild(api)).changed
        refused = await refusal(api.sessions.GetSession(pb.GetSessionRequest(session_id="s")))
        assert refused.reason == "SESSION_NOT_FOUND"
