"""Commands, checkpoints and forks from the command line, against a running stack."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG_S = 4000


@pytest.fixture
def long_city(city):
    """The city, long enough to be caught running."""
    config = city / "run.sumocfg"
    config.write_text(config.read_text().replace("300", str(LONG_S)))
    return city


async def paused_at(milepost, city, time_s: int) -> str:
    """A session that stands at a simulated time."""
    created = await milepost("run", city, "--pace", "1", "--detach", "--output", "json")
    session_id = created.json["session_id"]
    # Slowly until it stands: nobody knows how soon the next command comes. A new run, a fork too, begins slowly again.
    await milepost("pace", session_id, "30", "--pause")
    stands = await milepost("run-until", session_id, str(time_s), "--output", "json")
    assert stands.exit_code == 0, stands.err
    assert stands.json["pace"]["paused"] is True
    return session_id


def digest_of(watched) -> str:
    """What a watched session came to."""
    [completed] = [line["session_completed"] for line in watched.lines if "session_completed" in line]
    return completed["results"]["state_digest"]


async def test_a_session_is_steered_from_step_to_step(milepost, long_city):
    session_id = await paused_at(milepost, long_city, 60)

    stepped = await milepost("step", session_id, "10", "--output", "json")
    refused = await milepost("intervene", session_id, "--close-edge", "nowhere", "--validate-only")
    possible = await milepost("intervene", session_id, "--close-edge", "B1B2", "--class", "bus", "--validate-only")
    closed = await milepost("intervene", session_id, "--close-edge", "B1B2", "--output", "json")
    state = await milepost("state", session_id, "--at", "60", "--output", "json")
    why = await milepost("explain", session_id)
    ended = await milepost("terminate", session_id, "--output", "json")
    verified = await milepost("verify", session_id)
    log = await milepost("events", session_id)

    assert stepped.json["progress"]["sim_time_s"] == 70
    assert (refused.exit_code, possible.exit_code) == (1, 0)
    assert "nowhere" in refused.err
    assert (closed.json["applied"], int(closed.json["step"])) == (True, 70)
    assert state.json["sim_time_s"] == 60
    assert len(state.json["vehicles"]["ids"]) > 5
    assert "paused" in why.out
    assert ended.json["results"]["reason"] == "COMPLETION_REASON_TERMINATED"
    assert (verified.exit_code, verified.out[:6]) == (0, "EXACT:")
    assert "intervene: close edge B1B2" in log.out


async def test_a_suspended_session_goes_on_and_one_that_ended_is_resumed_and_restarted(milepost, city):
    session_id = await paused_at(milepost, city, 60)

    suspended = await milepost("suspend", session_id, "--output", "json")
    renamed = await milepost(
        "update", session_id, "--name", "later", "--label", "a=1", "--end", "200", "--output", "json"
    )
    resumed = await milepost("resume", session_id)
    went_on = await milepost("pace", session_id, "max")
    ended = await milepost("sessions", "watch", session_id, "--output", "json")
    longer = await milepost("resume", session_id, "--end", "300")
    ended_later = await milepost("watch", session_id, "--output", "json")
    restarted = await milepost("restart", session_id, "--output", "json")
    await milepost("pace", session_id, "max")
    await milepost("watch", session_id)
    removed = await milepost("rm", session_id)
    listed = await milepost("sessions", "list", "--output", "json")
    undeleted = await milepost("undelete", session_id)

    assert suspended.json["state"] == "SESSION_STATE_SUSPENDED"
    assert (renamed.json["display_name"], renamed.json["labels"]) == ("later", {"a": "1"})
    assert (resumed.exit_code, went_on.exit_code, longer.exit_code) == (0, 0, 0)
    assert ended.lines[-1]["sim_time_s"] == 200
    assert ended_later.lines[-1]["sim_time_s"] == 300
    assert restarted.json["run"] == 3
    assert removed.exit_code == undeleted.exit_code == 0
    assert session_id not in [session["session_id"] for session in listed.json["sessions"]]


@pytest.mark.slow
async def test_places_are_gone_back_to_and_forked_at(milepost, city, tmp_path):
    change = tmp_path / "more.json"
    change.write_text(json.dumps([{"scale_demand": {"factor": 2}}]))
    session_id = await paused_at(milepost, city, 60)

    made = await milepost("checkpoint", session_id, "--name", "before", "--pin", "--output", "json")
    await milepost("run-until", session_id, "120")
    back = await milepost("rollback", session_id, "--checkpoint", made.json["checkpoint_id"])
    forked = await milepost("fork", session_id, "--checkpoint", made.json["checkpoint_id"], "--output", "json")
    busier = await milepost("fork", session_id, "--at", "60", "--intervene", change, "--output", "json")
    # It stood, so it stands again where it went back to.
    assert (await milepost("sessions", "get", session_id, "--output", "json")).json["state"] == "SESSION_STATE_RUNNING"
    for one in (session_id, forked.json["session_id"], busier.json["session_id"]):
        await milepost("pace", one, "max")
    ends = [await milepost("watch", one, "--output", "json") for one in (session_id, forked.json["session_id"])]
    busier_end = await milepost("watch", busier.json["session_id"], "--output", "json")
    places = await milepost("checkpoints", session_id, "--output", "json")

    assert back.exit_code == 0
    assert made.json["sim_time_s"] == 60
    assert digest_of(ends[0]) == digest_of(ends[1]) != digest_of(busier_end)
    assert made.json["checkpoint_id"] in [place["checkpoint_id"] for place in places.json["checkpoints"]]
    assert set(places.json["forks"]) == {forked.json["session_id"], busier.json["session_id"]}


async def test_a_plan_is_followed_phase_by_phase(milepost, city):
    ran = await milepost("run", city, "--id", "planned", "--plan", "warm:100,measure:150", "--output", "json")

    assert ran.json["session_id"] == "planned"
    assert ran.json["results"]["sim_time_s"] == 250
    assert [phase["status"] for phase in ran.json["phases"]] == ["PHASE_STATUS_DONE", "PHASE_STATUS_DONE"]
