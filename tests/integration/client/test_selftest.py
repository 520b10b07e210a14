"""`milepost selftest`: on a stack of its own, and on a server that does not keep a promise."""

import asyncio
import json

import pytest

from stack import start_milepost

pytestmark = pytest.mark.asyncio(loop_scope="session")

SELFTEST_TIMEOUT_S = 110.0


@pytest.mark.long
async def test_an_installation_is_tried_from_creation_to_verification_and_a_killed_worker_costs_nothing():
    process = await start_milepost("selftest", "--embedded", "--output", "json", environment={})
    out, _ = await asyncio.wait_for(process.communicate(), SELFTEST_TIMEOUT_S)
    tried = json.loads(out)

    assert tried["ok"] is True, tried
    assert process.returncode == 0
    names = [one["step"] for one in tried["steps"]]
    assert "kill its worker" in names
    assert names[-1] == "clean up"


async def test_on_a_server_it_leaves_only_deleted_sessions(milepost):
    tried = await milepost("selftest")
    listed = await milepost("sessions", "list", "--output", "json")

    assert tried.exit_code == 0, tried.out
    assert "verify both from their logs" in tried.out
    assert "selftest" not in [session["display_name"] for session in listed.json["sessions"]]
