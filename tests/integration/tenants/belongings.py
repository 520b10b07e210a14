"""What the owner of these tests has, and others want: a scenario, a template, a session and a study."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf.struct_pb2 import Value
from guarded_stack import Caller

from milepost.event.v1 import event_service_pb2 as event
from milepost.scenario.v1 import scenario_service_pb2 as scenario
from milepost.scenario.v1 import template_service_pb2 as template
from milepost.scenario.v1.scenario_pb2 import ScenarioFile
from milepost.scenario.v1.template_pb2 import AttributeTarget, Binding, Parameter
from milepost.session.v1 import session_service_pb2 as session
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1 import study_service_pb2 as study
from milepost.study.v1.study_pb2 import Objective, StudyBase, StudySpec, Variant

TEMPLATE = "signal"
TINY = Path(__file__).parents[2] / "unit" / "scenario" / "tiny"


@dataclass
class Belongings:
    """What the owner has."""

    session_id: str
    scenario_digest: str
    file: ScenarioFile
    study_id: str = "none"


def template_request(digest: str, *, name: str) -> template.CreateTemplateRequest:
    """The length of a signal's first phase."""
    place = AttributeTarget(file="tiny.net.xml", select="tlLogic/phase[1]", attribute="duration")
    return template.CreateTemplateRequest(
        name=name,
        scenario_digest=digest,
        parameters=[Parameter(name="green_s", default=Value(number_value=20))],
        bindings=[Binding(attribute=place, value="green_s")],
    )


def study_request(its: Belongings) -> study.CreateStudyRequest:
    base = StudyBase(scenario_digest=its.scenario_digest)
    objective = Objective(expression="arrived")
    return study.CreateStudyRequest(
        spec=StudySpec(base=base, variants=[Variant(name="as it is")], seeds=[1], objective=objective)
    )


async def belongings(owner: Caller) -> Belongings:
    """Upload a scenario and create a session of it."""
    files = sorted(path for path in TINY.iterdir())
    listed = [
        ScenarioFile(path=file.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for file in files
        for content in [file.read_bytes()]
    ]
    header = scenario.UploadHeader(manifest=scenario.Manifest(files=listed))
    chunks = [scenario.FileChunk(path=file.name, content=file.read_bytes()) for file in files]
    uploaded = await owner.call(
        "ScenarioService.UploadScenario",
        scenario.UploadScenarioRequest(header=header),
        *(scenario.UploadScenarioRequest(chunk=chunk) for chunk in chunks),
        timeout_s=30,
    )
    digest = uploaded.response.scenario.digest
    made = await owner.call("TemplateService.CreateTemplate", template_request(digest, name=TEMPLATE))
    assert made.response.template.version == 1
    its = Belongings(await new_session(owner, digest), digest, listed[0])
    made = await owner.call("StudyService.CreateStudy", study_request(its))
    return replace(its, study_id=made.response.study.study_id)


async def new_session(owner: Caller, scenario_digest: str) -> str:
    """A session that waits for a worker, and is stored."""
    spec = SessionSpec(scenario_digest=scenario_digest)
    created = await owner.call("SessionService.CreateSession", session.CreateSessionRequest(spec=spec))
    name: str = created.response.session.session_id
    head = await owner.call("EventService.GetHead", event.GetHeadRequest(session_id=name))
    assert head.response.head_seq == 1
    return name
