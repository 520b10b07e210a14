"""The command `milepost` against a running stack: what programs and humans get, and exit codes."""

import asyncio
import signal

import pytest

from stack import start_milepost

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMPLETED = "SESSION_STATE_COMPLETED"


async def test_a_run_from_a_folder_to_its_results_and_everything_about_it(milepost, city):
    ran = await milepost("run", city, "--seed", "7", "--output", "json")
    session_id = ran.json["session_id"]
    got = await milepost("--output", "json", "sessions", "get", session_id)
    listed = await milepost("sessions", "list", "--output", "json", "--state", "completed")
    events = await milepost("events", session_id, "--output", "json")
    watched = await milepost("sessions", "watch", session_id, "--output", "json")
    marked = await milepost("sessions", "watch", session_id, "--output", "json", "--marks", "--after", "3")

    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.json["state"] == COMPLETED
    assert ran.json["spec"]["seed"] == 7
    assert float(ran.json["results"]["sim_time_s"]) == 300
    assert int(ran.json["results"]["kpis"]["arrived"]) > 50
    assert got.json == ran.json
    assert session_id in [session["session_id"] for session in listed.json["sessions"]]
    assert [int(event["seq"]) for event in events.lines] == list(range(1, int(got.json["seq"]) + 1))
    assert sum("interval_closed" in event for event in events.lines) == 30
    assert watched.lines == events.lines
    assert (watched.exit_code, marked.exit_code) == (0, 0)
    assert marked.lines[-1]["terminal"]["kind"] == "EVENT_KIND_SESSION_COMPLETED"


async def test_humans_get_tables_and_progress(milepost, city):
    ran = await milepost("run", city / "run.sumocfg", "--name", "rush hour")
    session_id = ran.out.split()[1].rstrip(":")
    shown = await milepost("sessions", "get", session_id)
    listed = await milepost("sessions", "list")
    scenarios = await milepost("scenarios", "list")

    assert ran.exit_code == 0
    assert "rush hour: running" in ran.err
    assert "completed" in ran.out
    assert "run it yourself" in shown.out
    assert "rush hour" in listed.out
    assert "run" in scenarios.out


async def test_what_is_wrong_with_a_scenario_is_told_with_file_and_line(milepost, city):
    routes = city / "cars.rou.xml"
    routes.write_text(routes.read_text().replace("C2D2", "nowhere"))

    stored = (await milepost("scenarios", "list", "--output", "json")).json
    validated = await milepost("scenarios", "validate", city, "--output", "json")
    ran = await milepost("run", city)

    assert validated.exit_code == ran.exit_code == 1
    [finding] = validated.json["errors"]
    assert (finding["file"], finding["line"]) == ("cars.rou.xml", 2)
    assert "cars.rou.xml:2" in ran.err
    assert "nowhere" in ran.err
    assert "Traceback" not in ran.err
    assert (await milepost("scenarios", "list", "--output", "json")).json == stored


async def test_a_stored_scenario_is_run_by_its_digest(milepost, city):
    digest = (await milepost("scenarios", "upload", city)).out.strip()

    ran = await milepost("run", digest, "--end", "20", "--output", "json")
    validated = await milepost("scenarios", "validate", digest)

    assert ran.json["results"]["sim_time_s"] == 20
    assert (validated.exit_code, validated.out) == (0, "valid\n")


async def test_an_interrupted_run_goes_on_and_can_be_cancelled(milepost, stack, city):
    config = city / "run.sumocfg"
    config.write_text(config.read_text().replace("300", "100000000"))
    environment = {"MILEPOST_SERVER": stack.ready["session_api"]}
    process = await start_milepost("run", city, environment=environment)
    told = b""
    async with asyncio.timeout(30):
        while b"running" not in told:
            told += await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    session_id = err.decode().split("session ")[1].split()[0]

    cancelled = await milepost("sessions", "cancel", session_id, "--output", "json")
    ended = await milepost("sessions", "watch", session_id)
    again = await milepost("sessions", "cancel", session_id)

    assert process.returncode == 130
    assert f"milepost sessions cancel {session_id}" in err.decode()
    assert cancelled.exit_code == 0
    assert ended.exit_code == 1
    assert "cancelled" in ended.out
    assert again.exit_code == 1
    assert again.err.startswith("error: ")


async def test_wrong_use_is_told_apart_from_failure(milepost):
    unknown = await milepost("sessions", "get", "no-such-session")
    wrong = await milepost("run", "anything", "--engine", "matlab")

    assert (unknown.exit_code, wrong.exit_code) == (1, 2)
    assert "no-such-session" in unknown.err


async def test_without_a_server_a_command_says_how_to_start_one(city):
    process = await start_milepost("run", city, "--server", "127.0.0.1:1", environment={})
    out, err = await process.communicate()

    assert process.returncode == 1
    assert out == b""
    assert err.decode() == "error: no server answers at 127.0.0.1:1; start one with: milepost up\n"


@pytest.mark.slow
async def test_who_runs_the_server_looks_after_what_is_kept(milepost, city):
    ran = await milepost("run", city, "--output", "json")
    session_id = ran.json["session_id"]
    kept = await milepost("update", session_id, "--keep-ended", "0.001", "--output", "json")
    said = await milepost("admin", "retention", "--dry-run", "--output", "json")
    over = [session["session_id"] for session in said.json["sessions"]]
    rebuilt = await milepost("admin", "rebuild", "--output", "json")
    would = await milepost("admin", "gc", "--dry-run")
    collected = await milepost("admin", "gc", "--output", "json")
    shown = await milepost("admin", "rebuild")

    assert kept.json["spec"]["limits"]["keep_ended_s"] == 0.001
    assert session_id in over or (await milepost("sessions", "get", session_id, "--output", "json")).json["delete_time"]
    assert int(rebuilt.json["sessions"]) > 0
    assert (rebuilt.json["changed"], rebuilt.json["removed"]) == ([], [])
    assert "would be erased" in would.out
    # Everything here is younger than its lease, or named.
    assert collected.json["erased_blobs"] == "0"
    assert "0 put right" in shown.out
