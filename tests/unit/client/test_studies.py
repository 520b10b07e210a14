"""Studies over real gRPC: decisions once over broken connections, findings with their places in the file."""

import grpc
import pytest
from google.rpc import error_details_pb2
from refusal import Refusal

from milepost.exceptions import AlreadyExists, InvalidArgument, NotFound
from milepost.scenario.v1 import template_service_pb2 as templates_pb
from milepost.scenario.v1.template_pb2 import Template
from milepost.scenario.v1.template_service_pb2_grpc import (
    TemplateServiceServicer,
    add_TemplateServiceServicer_to_server,
)
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_pb2 import Study, StudyState
from milepost.study.v1.study_service_pb2_grpc import StudyServiceServicer, add_StudyServiceServicer_to_server

RUNNING, COMPLETED = StudyState.STUDY_STATE_RUNNING, StudyState.STUDY_STATE_COMPLETED
FILE = f"""\
base: {{scenario: {"ab" * 32}}}
parameters: {{cycle_s: 90}}
bindings: [{{option: time-to-teleport, value: cycle_s}}]
seeds: 1-3
objective: {{minimise: mean_time_loss_s}}
variants:
  - name: base
  - name: c60
    parameters: {{cycle_s: 60}}
"""


def message(state: StudyState.ValueType, seq: int, *decisions: int) -> pb.WatchStudyResponse:
    told = [pb.Decision(seq=seq, text=f"decision {seq}") for seq in decisions]
    return pb.WatchStudyResponse(study=Study(state=state, seq=seq), decisions=told)


class ScriptedStudies(StudyServiceServicer):
    """Tells each watcher the next of its scripts, then breaks off unless the study has ended; refuses creations."""

    def __init__(self, *scripts: list[pb.WatchStudyResponse], refusal: Refusal | None = None) -> None:
        self.scripts = list(scripts)
        self.refusal = refusal
        self.asked: list[pb.WatchStudyRequest] = []
        self.created: list[pb.CreateStudyRequest] = []

    async def WatchStudy(self, request: pb.WatchStudyRequest, context):  # noqa: N802
        self.asked.append(request)
        script = self.scripts.pop(0)
        for one in script:
            yield one
        if not script or script[-1].study.state != COMPLETED:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")

    async def CreateStudy(self, request: pb.CreateStudyRequest, context):  # noqa: N802
        self.created.append(request)
        if self.refusal is not None:
            await self.refusal.send(context)
        return pb.CreateStudyResponse(study=Study(study_id="s", state=RUNNING))


class ScriptedTemplates(TemplateServiceServicer):
    """Makes templates, of which `there` are some already; keeps what was deleted."""

    def __init__(self, *there: str, refusal: Refusal | None = None) -> None:
        self.there = {*there}
        self.refusal = refusal
        self.deleted: list[str] = []

    async def GetTemplate(self, request, context):  # noqa: N802
        if request.name not in self.there:
            await Refusal(grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND").send(context)
        return templates_pb.GetTemplateResponse(template=Template(name=request.name, version=1))

    async def CreateTemplate(self, request, context):  # noqa: N802
        if self.refusal is not None:
            await self.refusal.send(context)
        self.there.add(request.name)
        return templates_pb.CreateTemplateResponse(template=Template(name=request.name, version=3))

    async def DeleteTemplate(self, request, context):  # noqa: N802
        if request.name not in self.there:
            await Refusal(grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND").send(context)
        self.deleted.append(request.name)
        return templates_pb.DeleteTemplateResponse()


async def client_of(connect, studies: ScriptedStudies, templates: ScriptedTemplates | None = None):
    def register(server: grpc.aio.Server) -> None:
        add_StudyServiceServicer_to_server(studies, server)
        add_TemplateServiceServicer_to_server(templates or ScriptedTemplates(), server)

    return await connect(register)


def invalid(*fields: str) -> Refusal:
    violations = [error_details_pb2.BadRequest.FieldViolation(field=one, description="is wrong") for one in fields]
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", error_details_pb2.BadRequest(field_violations=violations)
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cycles.yaml"
    path.write_text(FILE)
    return path


async def test_each_decision_is_told_once_over_broken_connections_until_the_end(connect):
    studies = ScriptedStudies(
        [message(RUNNING, 3, 2, 3)],
        [],
        [message(RUNNING, 5, 3, 5)],
        [message(COMPLETED, 8, 8), message(COMPLETED, 9, 9)],
    )
    client = await client_of(connect, studies)

    told = [one async for one in client.studies.watch("s", after_seq=1)]

    assert [decision.seq for one in told for decision in one.decisions] == [2, 3, 5, 8, 9]
    assert [request.after_seq for request in studies.asked] == [1, 3, 3, 5]
    assert told[-1].study.state == COMPLETED


async def test_what_the_server_finds_is_told_with_its_place_in_the_file_and_its_template_goes(connect, file):
    refusal = invalid("spec.variants[1].patch.parameters.cycle_s", "spec.objective.expression", "spec.base.template")
    studies, templates = ScriptedStudies(refusal=refusal), ScriptedTemplates()
    client = await client_of(connect, studies, templates)

    with pytest.raises(InvalidArgument) as refused:
        await client.studies.create_from(file)

    assert [f"{one.field}: {one.description}" for one in refused.value.violations] == [
        "cycles.yaml:9:27: variants[1].parameters.cycle_s: is wrong",
        "cycles.yaml:5:23: objective.minimise: is wrong",
        "cycles.yaml:1:1: base.template: is wrong",
    ]
    assert studies.created[0].spec.base.template.version == 3
    assert templates.deleted == ["cycles"]


@pytest.mark.parametrize(
    ("refusal", "kind", "place"),
    [
        (Refusal(grpc.StatusCode.NOT_FOUND, "SCENARIO_NOT_FOUND"), NotFound, "cycles.yaml:1:18"),
        (Refusal(grpc.StatusCode.ALREADY_EXISTS, "STUDY_EXISTS"), AlreadyExists, "cycles.yaml:1:1"),
    ],
)
async def test_what_is_not_there_is_told_with_its_place(connect, file, refusal, kind, place):
    client = await client_of(connect, ScriptedStudies(refusal=refusal))
    with pytest.raises(kind) as refused:
        await client.studies.create_from(file)
    assert [one.field for one in refused.value.violations] == [place]


async def test_a_template_that_was_there_before_or_is_needed_stays(connect, file):
    for templates, studies, validate_only, gone in (
        (ScriptedTemplates("cycles"), ScriptedStudies(refusal=invalid("spec")), False, []),
        (ScriptedTemplates(), ScriptedStudies(), False, []),
        (ScriptedTemplates(), ScriptedStudies(), True, ["cycles"]),
    ):
        client = await client_of(connect, studies, templates)
        try:
            await client.studies.create_from(file, validate_only=validate_only)
        except InvalidArgument:
            assert studies.refusal is not None
        assert templates.deleted == gone
        assert studies.created[0].validate_only == validate_only
        assert studies.created[0].request_id


async def test_what_is_wrong_with_the_template_is_told_with_its_place(connect, file):
    templates = ScriptedTemplates(refusal=invalid("bindings[0].value", "parameters[0].default", "name"))
    client = await client_of(connect, ScriptedStudies(), templates)
    with pytest.raises(InvalidArgument) as refused:
        await client.studies.create_from(file)
    assert [one.field for one in refused.value.violations] == [
        "cycles.yaml:3:46",
        "cycles.yaml:2:23",
        "cycles.yaml:1:1",
    ]
