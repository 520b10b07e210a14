"""DeleteScenario: nothing new is made of it, and what was made of it goes on."""

from pathlib import Path

import pytest
from running_api import BEGIN_S, Api, refusal, running_api
from test_retention import AT_ONCE, clean_up, ended, files_of, missing

from broker import Broker
from milepost.event.v1.event_pb2 import SessionCompleted
from milepost.scenario.v1 import scenario_service_pb2 as scenarios
from milepost.session.v1 import session_service_pb2 as pb

pytestmark = pytest.mark.any_database


async def delete(api: Api, digest: str) -> None:
    await api.scenarios.DeleteScenario(scenarios.DeleteScenarioRequest(digest=digest))


async def listed(api: Api) -> list[str]:
    return [one.digest for one in (await api.scenarios.ListScenarios(scenarios.ListScenariosRequest())).scenarios]


async def test_of_a_deleted_scenario_nothing_new_is_made_until_it_is_uploaded_again(api: Api) -> None:
    await api.create()
    digest = api.scenario_digest
    await delete(api, digest)
    assert await listed(api) == []
    assert (await refusal(api.create())).reason == "SCENARIO_NOT_FOUND"
    asked = scenarios.GetScenarioRequest(digest=digest)
    assert (await refusal(api.scenarios.GetScenario(asked))).reason == "SCENARIO_NOT_FOUND"
    assert (await refusal(delete(api, digest))).reason == "SCENARIO_NOT_FOUND"
    assert (await refusal(delete(api, "no digest"))).fields == ["digest"]
    await api.sessions.CreateDemoSession(pb.CreateDemoSessionRequest())
    assert await listed(api) == [digest]
    await api.create()


async def test_sessions_of_a_deleted_scenario_keep_their_files_and_go_on(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, of_store=AT_ONCE) as api:
        name = await ended(api)
        files = await files_of(api)
        await delete(api, api.scenario_digest)
        assert (await clean_up(api)).erased_blobs == 0
        assert await missing(api, files) == set()
        await api.sessions.RestartSession(pb.RestartSessionRequest(session_id=name))
        worker = await api.worker(name).begin()
        await worker.simulate(30)
        await worker.append(SessionCompleted())
        await api.until(name, lambda session: session.run == 2 and session.HasField("end_time"))
        forked = pb.ForkSessionRequest(session_id=name, sim_time_s=BEGIN_S + 10)
        assert (await api.sessions.ForkSession(forked)).session.spec.scenario_digest == api.scenario_digest
