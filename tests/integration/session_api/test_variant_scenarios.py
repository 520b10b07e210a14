"""Scenarios of a study's variants: made of a template and of replaced files, refused by the path of each."""

import hashlib
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from running_api import Api, Refusal, refusal
from tiny_templates import TINY, content, create, upload

from milepost.blob.v1.blob_service_pb2 import BlobRef, UploadBlobRequest
from milepost.scenario.v1 import scenario_service_pb2 as scenarios
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub
from runtime.blobs import Blobs
from runtime.identity import TENANT_METADATA

pytestmark = pytest.mark.any_database
NET, ROUTES = "tiny.net.xml", "tiny.rou.xml"
TEMPLATE = {"template": {"name": "signal"}}


def study(base: dict[str, Any], *patches: dict[str, Any]) -> pb.CreateStudyRequest:
    """A study with a variant of each patch."""
    spec = {
        "base": base,
        "seeds": [1],
        "objective": {"expression": "mean_time_loss_s", "direction": "DIRECTION_MINIMISE"},
        "variants": [{"name": str(index), "patch": patch} for index, patch in enumerate(patches)],
    }
    return ParseDict({"spec": spec}, pb.CreateStudyRequest())


async def made(api: Api, base: dict[str, Any], *patches: dict[str, Any]) -> list[SessionSpec]:
    """What the sessions of each variant are created with."""
    studies: Any = StudyServiceStub(api.channel)
    created = (await studies.CreateStudy(study(base, *patches))).study
    asked = pb.GetStudyRequest(study_id=created.study_id, view=pb.STUDY_VIEW_FULL)
    return [variant.session for variant in (await studies.GetStudy(asked)).study.variants]


async def refused(api: Api, base: dict[str, Any], *patches: dict[str, Any]) -> Refusal:
    """How a study is refused that would only be looked at."""
    studies: Any = StudyServiceStub(api.channel)
    asked = study(base, *patches)
    asked.validate_only = True
    return await refusal(studies.CreateStudy(asked))


async def stored_file(api: Api, path: str, text: bytes) -> dict[str, Any]:
    """A file in place of another, uploaded before."""
    await Blobs(api.store.blobs).put_bytes(text)
    return {"path": path, "sha256": hashlib.sha256(text).hexdigest(), "size_bytes": len(text)}


async def look_up(api: Api, spec: SessionSpec) -> Scenario:
    asked = scenarios.GetScenarioRequest(digest=spec.scenario_digest)
    return (await api.scenarios.GetScenario(asked)).scenario


async def test_each_set_of_values_has_its_scenario_and_its_options(api: Api) -> None:
    base = await upload(api)
    await create(api, base.digest)
    values = [{}, {"cycle_s": 40}, {"cycle_s": 50, "teleport_s": 60}, {"cycle_s": 40, "teleport_s": 60}]
    found = await made(api, TEMPLATE, *({"parameters": one} for one in values))
    digests = [one.scenario_digest for one in found]
    assert digests[0] == base.digest
    assert (digests[1] == digests[3], len(set(digests))) == (True, 3)
    options = [{option.name: option.value for option in one.options} for one in found]
    assert [one["time-to-teleport"] for one in options] == ["300", "300", "60", "60"]
    net = (await content(api, await look_up(api, found[2]), NET)).decode()
    assert net == (TINY / NET).read_text().replace('"20"', '"40"')


async def test_what_is_wrong_with_values_is_told_by_the_paths_of_all_patches(api: Api) -> None:
    base = await upload(api)
    await create(api, base.digest)
    wrong = [{"parameters": {"cycle_s": 10 * i, "kind": "static" if i else "odd"}} for i in range(40)]
    fields = (await refused(api, TEMPLATE, *wrong)).fields
    patch = "spec.variants[{}].patch.parameters"
    assert fields[:2] == [f"{patch.format(0)}.{name}" for name in ("cycle_s", "kind")]
    assert fields[2:] == [f"{patch.format(i)}.cycle_s" for i in range(13, 31)]
    bare = await refused(api, {"scenario_digest": base.digest}, {}, {"parameters": {"cycle_s": 30}})
    assert bare.fields == [f"{patch.format(1)}.cycle_s"]
    assert (await refused(api, {"template": {"name": "other"}}, {})).reason == "TEMPLATE_NOT_FOUND"
    assert (await refused(api, {"template": {"name": "signal", "version": 2}}, {})).reason == "TEMPLATE_NOT_FOUND"
    assert (await refused(api, {"scenario_digest": "0" * 64}, {})).reason == "SCENARIO_NOT_FOUND"


async def test_values_that_break_the_scenario_are_told_by_the_path_of_the_patch(api: Api) -> None:
    binding = {"attribute": {"file": ROUTES, "select": "route", "attribute": "edges"}, "value": "way"}
    one = {"parameters": [{"name": "way", "default": "in out"}], "bindings": [binding]}
    await create(api, (await upload(api)).digest, **one)
    found = await refused(api, TEMPLATE, *({"parameters": {"way": way}} for way in ("in", "in x", "out", "y")))
    assert found.fields == [f"spec.variants[{i}].patch.parameters" for i in (1, 3)]


async def test_files_take_the_place_of_others_and_values_go_with_them(api: Api) -> None:
    base = await upload(api)
    await create(api, base.digest)
    more = (TINY / ROUTES).read_bytes().replace(b'period="4"', b'period="2"')
    files = [await stored_file(api, ROUTES, more)]
    patches = [{"files": files}, {"parameters": {"cycle_s": 60}, "files": files}, {}]
    first, second, third = [await look_up(api, one) for one in await made(api, TEMPLATE, *patches)]
    assert third == base
    assert {await content(api, scenario, ROUTES) for scenario in (first, second)} == {more}
    assert await content(api, first, NET) == (TINY / NET).read_bytes()
    assert await content(api, second, NET) == (TINY / NET).read_bytes().replace(b'"20"', b'"50"')
    (alone,) = await made(api, {"scenario_digest": base.digest}, patches[0])
    assert alone.scenario_digest == first.digest
    assert (await upload(api, **{ROUTES: more})).digest == first.digest


async def test_a_file_that_cannot_take_a_place_is_refused_by_its_field(api: Api) -> None:
    base = await upload(api)
    await create(api, base.digest)
    fine = await stored_file(api, ROUTES, b"<routes/>")
    for file, field in (
        ({"path": "more.xml"}, "path"),
        ({"path": "run.sumocfg"}, "path"),
        ({"sha256": "0" * 64}, "sha256"),
        ({"size_bytes": 8}, "size_bytes"),
    ):
        found = await refused(api, {"scenario_digest": base.digest}, {}, {"files": [{**fine, **file}]})
        assert found.fields == [f"spec.variants[1].patch.files[0].{field}"]
    bound = await refused(api, TEMPLATE, {"files": [fine, await stored_file(api, NET, b"<net/>")]})
    assert bound.fields == ["spec.variants[0].patch.files[1].path"]
    trip = b"<routes>\n<trip id='a' from='in' to='nowhere'/></routes>"
    broken = await refused(api, TEMPLATE, {"files": [await stored_file(api, ROUTES, trip)]})
    assert (broken.reason, broken.fields) == ("SCENARIO_INVALID", [f"{ROUTES}:2"])


async def test_files_that_another_tenant_has_stored_are_not_there(api: Api) -> None:
    base = await upload(api)
    text = b"<routes/>"
    ref = BlobRef(sha256=hashlib.sha256(text).hexdigest(), size_bytes=len(text))
    sent = iter([UploadBlobRequest(ref=ref), UploadBlobRequest(content=text)])
    await api.store.blobs.UploadBlob(sent, metadata=[(TENANT_METADATA, "somebody-else")])
    file = {"path": ROUTES, "sha256": ref.sha256, "size_bytes": len(text)}
    found = await refused(api, {"scenario_digest": base.digest}, {"files": [file]})
    assert found.fields == ["spec.variants[0].patch.files[0].sha256"]
    await stored_file(api, ROUTES, text)
    await made(api, {"scenario_digest": base.digest}, {"files": [file]})
