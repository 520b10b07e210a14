"""Who did what stands in the log, and one question tells it."""

import asyncio

import pytest
from belongings import TINY
from guarded_stack import Guarded, token

from milepost.audit import deeds, uploads
from milepost.credentials import Credentials
from milepost.exceptions import Denied, NotFound
from milepost.session.v1.session_pb2 import SessionSpec

PATIENCE_S = 20.0
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_deed_bears_the_name_of_who_did_it(guarded: Guarded) -> None:
    async with guarded.client("ada", tenant="audited") as ada, guarded.client("bob", tenant="audited") as bob:
        scenario = await ada.scenarios.upload(TINY)
        session = await ada.sessions.create(SessionSpec(scenario_digest=scenario.digest), create_only=True)
        await bob.sessions.start(session.session_id)
        cancelled = await bob.sessions.cancel(session.session_id, comment="too late")
        async with asyncio.timeout(PATIENCE_S):
            while (await ada.events.head(session.session_id)).head_seq < cancelled.seq:
                await asyncio.sleep(0.01)
        done = await deeds(ada.events, session_ids=[session.session_id])
        assert [(deed.who, deed.what, deed.outcome, deed.comment) for deed in done] == [
            ("ada", "create session", "done", ""),
            ("bob", "start", "done", ""),
            ("bob", "cancel", "done", "too late"),
        ]
        assert await deeds(ada.events) == done
        assert await deeds(ada.events, since=done[1].time) == done[1:]
        assert [(deed.who, deed.subject) async for deed in uploads(bob.scenarios)] == [("ada", scenario.digest)]
        assert (await bob.sessions.get(session.session_id)).owner == "ada"

    async with guarded.client("eve", tenant="elsewhere") as eve:
        assert await deeds(eve.events) == []
        with pytest.raises(NotFound):
            await deeds(eve.events, session_ids=[session.session_id])
        with pytest.raises(Denied):
            await deeds(eve.events, all_tenants=True)

    async with guarded.client("root", tenant="ops", roles=["admin"]) as root:
        everywhere = await deeds(root.events, all_tenants=True)
        assert [deed for deed in everywhere if deed.tenant == "audited"] == done


async def test_a_client_without_a_good_token_is_denied_and_told_why(guarded: Guarded) -> None:
    async with guarded.connect(Credentials(token("ada", tenant="north", exp=1))) as client:
        with pytest.raises(Denied, match="has expired") as denied:
            await client.sessions.get("s")
    assert (denied.value.reason, denied.value.metadata) == ("NOT_AUTHENTICATED", {"rule": "expired"})


async def test_a_client_takes_its_proof_from_the_environment() -> None:
    assert Credentials.from_environment({}) == Credentials()
    assert Credentials.from_environment({"MILEPOST_TOKEN": "t"}).token == "t"
