"""Templates: versions, values that make scenarios, what is refused by its field, what is kept how long."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from running_api import Api, refusal, running_api
from test_retention import AT_ONCE, clean_up, missing
from tiny_templates import GREEN, TINY, content, create, fill, request, upload

from broker import Broker
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.scenario.v1 import scenario_service_pb2 as scenarios
from milepost.scenario.v1 import template_service_pb2 as pb
from milepost.session.v1 import session_service_pb2 as sessions
from milepost.session.v1.session_pb2 import SessionSpec

NET = "tiny.net.xml"
pytestmark = pytest.mark.any_database


async def listed(api: Api, **asked: Any) -> list[tuple[str, int]]:
    answer = await api.templates.ListTemplates(pb.ListTemplatesRequest(**asked))
    return [(one.name, one.version) for one in answer.templates]


async def get(api: Api, name: str = "signal", version: int = 0) -> Any:
    return (await api.templates.GetTemplate(pb.GetTemplateRequest(name=name, version=version))).template


async def delete(api: Api, name: str = "signal") -> None:
    await api.templates.DeleteTemplate(pb.DeleteTemplateRequest(name=name))


async def test_versions_of_a_template_come_one_after_the_other_and_stay_as_they_are(api: Api) -> None:
    digest = (await upload(api)).digest
    first = await create(api, digest)
    assert (first.version, first.scenario_digest, first.owner) == (1, digest, "")
    again = await api.templates.CreateTemplate(request(digest))
    assert (again.template, again.already_stored) == (first, True)
    second = await create(api, digest, description="another")
    assert second.version == 2
    back = await api.templates.CreateTemplate(request(digest))
    assert (back.template.version, back.already_stored) == (3, False)
    assert (await get(api)).version == 3
    assert await get(api, version=1) == first
    assert (await refusal(get(api, version=4))).metadata == {"name": "signal", "version": "4"}
    assert (await refusal(get(api, name="none"))).reason == "TEMPLATE_NOT_FOUND"


async def test_who_asks_for_the_same_template_at_once_gets_the_same_version(api: Api) -> None:
    digest = (await upload(api)).digest
    made = await asyncio.gather(*(api.templates.CreateTemplate(request(digest)) for _ in range(6)))
    assert [one.template.version for one in made] == [1] * 6
    assert [one.already_stored for one in made].count(False) == 1
    others = await asyncio.gather(*(create(api, digest, description=str(number)) for number in range(4)))
    assert sorted(one.version for one in others) == [2, 3, 4, 5]


async def test_templates_are_listed_by_name_page_by_page(api: Api) -> None:
    digest = (await upload(api)).digest
    for name in ("c", "a", "b", "a"):
        await create(api, digest, name=name, description=str(await listed(api)))
    assert await listed(api) == [("a", 2), ("b", 1), ("c", 1)]
    page = await api.templates.ListTemplates(pb.ListTemplatesRequest(page_size=2))
    assert [one.name for one in page.templates] == ["a", "b"]
    assert await listed(api, page_token=page.next_page_token) == [("c", 1)]
    assert (await refusal(listed(api, page_token="bm9uZQ=="))).reason == "PAGE_TOKEN_INVALID"


async def test_a_deleted_template_is_gone_what_was_made_of_it_stays_and_its_versions_are_not_given_again(
    api: Api,
) -> None:
    digest = (await upload(api)).digest
    await create(api, digest)
    made = await fill(api, cycle_s=40)
    await delete(api)
    assert await listed(api) == []
    assert (await refusal(get(api))).reason == "TEMPLATE_NOT_FOUND"
    assert (await refusal(fill(api))).reason == "TEMPLATE_NOT_FOUND"
    assert (await refusal(delete(api))).reason == "TEMPLATE_NOT_FOUND"
    spec = SessionSpec(scenario_digest=made.scenario.digest)
    await api.sessions.CreateSession(sessions.CreateSessionRequest(spec=spec, create_only=True))
    assert (await create(api, digest)).version == 2


async def test_values_make_a_scenario_that_differs_in_them_alone(api: Api) -> None:
    base = await upload(api)
    await create(api, base.digest)
    made = await fill(api, cycle_s=42.5, teleport_s=120)
    assert [(one.name, one.value) for one in made.options] == [("time-to-teleport", "120")]
    assert made.scenario.digest == made.scenario.scene.scenario_digest != base.digest
    assert made.scenario.display_name == "signal 1: cycle_s=42.5, teleport_s=120"
    text = (TINY / NET).read_text()
    assert (await content(api, made.scenario, NET)).decode() == text.replace('"20"', '"32.5"')
    others = [file for file in base.files if file.path != NET]
    assert [file for file in made.scenario.files if file.path != NET] == others
    assert (await api.scenarios.GetScenario(scenarios.GetScenarioRequest(digest=made.scenario.digest))).scenario == (
        made.scenario
    )
    again = await fill(api, cycle_s=42.5)
    assert (again.scenario, again.already_stored) == (made.scenario, True)
    assert [one.value for one in again.options] == ["300"]


async def test_values_that_stand_there_already_make_the_scenario_itself(api: Api) -> None:
    base = await upload(api)
    await create(api, base.digest)
    made = await fill(api)
    assert (made.scenario, made.already_stored) == (base, True)


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"scenario_digest": "no digest"}, "scenario_digest"),
    ({"name": "No name"}, "name"),
    ({"parameters": [{"name": "cycle_s"}]}, "parameters[0].default"),
    ({"parameters": [{"name": "a", "default": 1}, {"name": "9", "default": 1}]}, "parameters[1].name"),
    ({"parameters": [{"name": "a", "default": True}]}, "parameters[0].default"),
    ({"parameters": [{"name": "a", "default": 5, "maximum": 4}]}, "parameters[0].default"),
    ({"parameters": [{"name": "a", "default": 5}, {"name": "a", "default": 5}]}, "parameters[1].name"),
    ({"parameters": [{"name": "a", "default": 5}, {"name": "b", "default": 5}]}, "parameters[1].name"),
    ({"parameters": [{"name": "a", "default": "x", "choices": ["y"]}]}, "parameters[0].default"),
]
WRONG_BINDINGS: list[tuple[dict[str, Any], str]] = [
    ({"option": "net-file", "value": "cycle_s"}, "option"),
    ({"option": "seed", "value": "cycle_s"}, "option"),
    ({"option": "nonsense", "value": "cycle_s"}, "option"),
    ({"option": "time-to-teleport", "value": "cycle_s"}, ""),
    ({"option": "time-to-teleport", "value": "cycle_s"}, "option"),
    ({"option": "ignore-junction-blocker", "value": "kind"}, "value"),
    ({"attribute": {"file": "other.xml", "select": "a", "attribute": "b"}}, "attribute.file"),
    ({"attribute": {"file": "run.sumocfg", "select": "*", "attribute": "b"}}, "attribute.file"),
    ({"attribute": {"file": NET, "select": "a", "attribute": "b"}}, "attribute.select"),
    ({"attribute": {"file": NET, "select": "a[", "attribute": "b"}}, "attribute.select"),
    ({"attribute": {"file": NET, "select": "/net", "attribute": "b"}}, "attribute.select"),
    ({"attribute": {"file": NET, "select": "edge", "attribute": "xmlns"}}, "attribute.attribute"),
    ({"attribute": {"file": NET, "select": "edge", "attribute": "file"}}, "attribute.attribute"),
    ({"attribute": {"file": "tiny.add.xml", "select": "*", "attribute": "file"}}, "attribute.attribute"),
    ({"attribute": {"file": NET, "select": GREEN, "attribute": "duration"}}, ""),
    ({"attribute": {"file": NET, "select": ".//tlLogic/*[1]", "attribute": "duration"}}, "attribute"),
]
WRONG_EXPRESSIONS = [
    {"option": "scale", "value": "cycle_s +"},
    {"option": "step-length", "value": "nothing"},
    {"attribute": {"file": NET, "select": "a", "attribute": "b"}, "value": "kind + teleport_s"},
]
WRONG_VALUES: list[tuple[dict[str, Any], list[str]]] = [
    ({"cycle_s": 9}, ["parameters.cycle_s"]),
    ({"cycle_s": "30"}, ["parameters.cycle_s"]),
    ({"cycle_s": None}, ["parameters.cycle_s"]),
    ({"cycle_s": [1]}, ["parameters.cycle_s"]),
    ({"kind": "other", "more": 1}, ["parameters.more", "parameters.kind"]),
    ({"teleport_s": 1.5}, ["parameters.teleport_s"]),
]


async def test_a_template_is_refused_by_the_field_that_is_wrong(api: Api) -> None:
    digest = (await upload(api)).digest
    for changed, field in WRONG_FIELDS:
        one = {"bindings": [{"option": "scale", "value": "a"}]} if "parameters" in changed else {}
        refused = await refusal(create(api, digest, **one, **changed))
        assert (refused.reason, refused.fields, changed) == ("FIELD_INVALID", [field], changed)


async def test_bindings_are_refused_by_their_fields_all_at_once(api: Api) -> None:
    digest = (await upload(api)).digest
    bindings = [{"value": "cycle_s + teleport_s", **binding} for binding, _ in WRONG_BINDINGS]
    wrong = [f"bindings[{index}].{part}" for index, (_, part) in enumerate(WRONG_BINDINGS) if part]
    refused = await refusal(create(api, digest, bindings=bindings))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", wrong)
    refused = await refusal(create(api, digest, bindings=WRONG_EXPRESSIONS))
    assert refused.fields == [*(f"bindings[{index}].value" for index in range(3)), "bindings[2].attribute.select"]
    undefined = {"option": "scale", "value": "1 / (cycle_s - 30) + teleport_s"}
    refused = await refusal(
        create(api, digest, bindings=[undefined, {"option": "step-method.ballistic", "value": "kind"}])
    )
    assert refused.fields == ["parameters[0].default"]
    pattern = {"attribute": {"file": NET, "select": "edge", "attribute": "<"}, "value": "cycle_s"}
    assert (await refusal(create(api, digest, bindings=[pattern]))).fields == ["bindings[0].attribute.attribute"]


async def test_a_template_of_no_scenario_is_none(api: Api) -> None:
    assert (await refusal(create(api, "0" * 64))).reason == "SCENARIO_NOT_FOUND"


async def test_values_are_refused_by_their_names(api: Api) -> None:
    await create(api, (await upload(api)).digest)
    for values, fields in WRONG_VALUES:
        refused = await refusal(fill(api, **values))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
        assert (refused.fields, values) == (fields, values)


async def test_values_that_break_the_scenario_are_told_with_the_file_and_the_line(api: Api) -> None:
    digest = (await upload(api)).digest
    binding = {"attribute": {"file": "tiny.rou.xml", "select": "route", "attribute": "edges"}, "value": "way"}
    await create(api, digest, parameters=[{"name": "way", "default": "in out"}], bindings=[binding])
    assert (await fill(api, way="in")).scenario.digest != digest
    refused = await refusal(fill(api, way="in nowhere"))
    assert (refused.reason, refused.fields) == ("SCENARIO_INVALID", ["tiny.rou.xml:4"])


async def test_a_filled_scenario_counts_with_what_is_new_in_it(api: Api) -> None:
    await create(api, (await upload(api)).digest)
    quota = admin.Quota(stored_bytes=100_000, uploads_per_hour=2)
    mask = FieldMask(paths=["stored_bytes", "uploads_per_hour"])
    await api.admin.SetQuota(admin.SetQuotaRequest(tenant="default", quota=quota, update_mask=mask))
    before = (await api.admin.GetQuota(admin.GetQuotaRequest(tenant="default"))).usage.stored_bytes
    await fill(api, cycle_s=40)
    after = (await api.admin.GetQuota(admin.GetQuotaRequest(tenant="default"))).usage.stored_bytes
    assert after - before == (TINY / NET).stat().st_size
    await fill(api, cycle_s=40)
    await fill(api, cycle_s=41)
    assert (await refusal(fill(api, cycle_s=42))).reason == "QUOTA_EXCEEDED"
    await fill(api, cycle_s=41)


@pytest.mark.slow
async def test_a_template_keeps_its_scenario_which_may_be_off_the_list(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url, of_store=AT_ONCE) as api:
        base = await upload(api)
        await create(api, base.digest)
        await create(api, base.digest, description="second")
        await api.scenarios.DeleteScenario(scenarios.DeleteScenarioRequest(digest=base.digest))
        files = {base.digest, *(file.sha256 for file in base.files)}
        assert (await clean_up(api)).erased_blobs == 0
        assert await missing(api, files) == set()
        made = await fill(api, cycle_s=50)
        assert (await fill(api)).scenario == base
        await api.scenarios.DeleteScenario(scenarios.DeleteScenarioRequest(digest=base.digest))
        await delete(api)
        await clean_up(api)
        shared = {file.sha256 for file in made.scenario.files}
        assert await missing(api, files | shared | {made.scenario.digest}) == files - shared
