"""Every RPC of every service, asked for what is another tenant's: it does not exist. A new RPC needs a row here."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from guarded_stack import CALL_S, Caller, Guarded, Outcome, methods

from externalscaler import externalscaler_pb2 as scaler
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.blob.v1 import blob_service_pb2 as blob
from milepost.event.v1 import event_service_pb2 as event
from milepost.event.v1.export_pb2 import EXPORT_FORMAT_CSV, ExportEventsRequest
from milepost.event.v1.metrics_pb2 import QueryMetricsRequest
from milepost.event.v1.session_set_pb2 import SessionSet
from milepost.intervention.v1.intervention_pb2 import Intervention, Place, SetSpeedLimit
from milepost.scenario.v1 import scenario_service_pb2 as scenario
from milepost.scenario.v1 import template_service_pb2 as template
from milepost.scenario.v1.scenario_pb2 import ScenarioFile
from milepost.scenario.v1.template_pb2 import AttributeTarget, Binding, Parameter
from milepost.session.v1 import session_service_pb2 as session
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.session.v1.statistics_pb2 import GetStatisticsRequest
from milepost.study.v1 import study_service_pb2 as study
from milepost.study.v1.study_pb2 import Objective, StudyBase, StudySpec, Variant

pytestmark = pytest.mark.asyncio(loop_scope="session")

# How long the owner of a session waits for a worker, of which there is none, seconds.
ACCEPTED_S = 5.0
TEMPLATE = "signal"
TINY = Path(__file__).parents[2] / "unit" / "scenario" / "tiny"


@dataclass
class Belongings:
    """What the owner has."""

    session_id: str
    scenario_digest: str
    file: ScenarioFile
    study_id: str = "none"


@dataclass(frozen=True)
class Row:
    """What is asked, and what becomes of it: `foreign` for who may not see it, `owner` for who may."""

    request: Callable[[Belongings], Message | Sequence[Message]]
    foreign: Callable[[Outcome], bool]
    owner: Callable[[Outcome], bool]
    patience_s: float = CALL_S
    destroys: bool = False
    """What the owner's other calls are about: asked when they have been answered."""
    open: bool = False
    """Asks for no token, and so has nothing of any tenant to tell."""

    def requests(self, belongings: Belongings) -> Sequence[Message]:
        made = self.request(belongings)
        return [made] if isinstance(made, Message) else made


def refused(reason: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.reason == reason


def unseen(reason: str, code: grpc.StatusCode = grpc.StatusCode.NOT_FOUND) -> Callable[[Outcome], bool]:
    return lambda outcome: (outcome.code, outcome.reason) == (code, reason)


def answered(check: Callable[[Any], object]) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.code is grpc.StatusCode.OK and bool(check(outcome.response))


def of_session(request: Callable[[str], Message]) -> Row:
    """A request that names a session: whoever may see it is told anything but that it does not exist."""
    return Row(
        lambda its: request(its.session_id),
        unseen("SESSION_NOT_FOUND"),
        lambda outcome: outcome.reason != "SESSION_NOT_FOUND" and outcome.code in _KNOWN,
        patience_s=ACCEPTED_S,
    )


_KNOWN = {
    grpc.StatusCode.OK,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,  # CHECKPOINT_NOT_FOUND
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,  # NO_WORKER
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INVALID_ARGUMENT,
}
_SPEED = Intervention(set_speed_limit=SetSpeedLimit(place=Place(edge_ids=["e"]), speed_mps=5))
_ADMIN_ONLY = (unseen("NOT_PERMITTED", grpc.StatusCode.PERMISSION_DENIED),) * 2


def _created(its: Belongings) -> session.CreateSessionRequest:
    return session.CreateSessionRequest(spec=SessionSpec(scenario_digest=its.scenario_digest), create_only=True)


def _template(digest: str, *, name: str) -> template.CreateTemplateRequest:
    """The length of a signal's first phase."""
    place = AttributeTarget(file="tiny.net.xml", select="tlLogic/phase[1]", attribute="duration")
    return template.CreateTemplateRequest(
        name=name,
        scenario_digest=digest,
        parameters=[Parameter(name="green_s", default=Value(number_value=20))],
        bindings=[Binding(attribute=place, value="green_s")],
    )


def _left_out(its: Belongings) -> Sequence[Message]:
    """An upload that leaves a file out, because the server has it."""
    manifest = scenario.Manifest(files=[its.file])
    return [scenario.UploadScenarioRequest(header=scenario.UploadHeader(manifest=manifest))]


def _sent_nothing(its: Belongings) -> Sequence[Message]:
    """A blob that is announced and not sent."""
    return [blob.UploadBlobRequest(ref=blob.BlobRef(sha256=its.file.sha256, size_bytes=its.file.size_bytes))]


def _study(its: Belongings) -> study.CreateStudyRequest:
    base = StudyBase(scenario_digest=its.scenario_digest)
    objective = Objective(expression="arrived")
    return study.CreateStudyRequest(
        spec=StudySpec(base=base, variants=[Variant(name="as it is")], seeds=[1], objective=objective)
    )


def of_study(request: Callable[[str], Message], check: Callable[[Any], object]) -> Row:
    """A request that names a study."""
    return Row(lambda its: request(its.study_id), unseen("STUDY_NOT_FOUND"), answered(check))


def _sessions(its: Belongings) -> SessionSet:
    return SessionSet(session_ids=[its.session_id])


def _stored_events(outcome: Outcome) -> list[Any]:
    return [stored for response in outcome.responses for stored in response.events]


def _of_pool(request: Callable[[scaler.ScaledObjectRef], Message]) -> Row:
    """How many slots a pool needs is the same for everybody, token or none."""
    pool = scaler.ScaledObjectRef(name="workers", namespace="n", scalerMetadata={"slotsPerWorker": "4"})

    def counted(outcome: Outcome) -> bool:
        return outcome.code in {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED} and outcome.responses != []

    return Row(lambda its: request(pool), counted, counted, patience_s=ACCEPTED_S, open=True)


ROWS: dict[str, Row] = {
    # Sessions
    "SessionService.CreateSession": Row(_created, unseen("SCENARIO_NOT_FOUND"), answered(lambda it: it.session)),
    "SessionService.BatchCreateSessions": Row(
        lambda its: session.BatchCreateSessionsRequest(requests=[_created(its)]),
        answered(lambda it: [one.error.code for one in it.results] == [grpc.StatusCode.NOT_FOUND.value[0]]),
        answered(lambda it: [one.WhichOneof("result") for one in it.results] == ["session"]),
    ),
    "SessionService.CreateDemoSession": Row(
        lambda its: session.CreateDemoSessionRequest(),
        answered(lambda it: it.session.session_id),
        answered(lambda it: it.session.session_id),
    ),
    "SessionService.ListSessions": Row(
        lambda its: session.ListSessionsRequest(show_deleted=True),
        answered(lambda it: not it.sessions),
        answered(lambda it: it.sessions),
    ),
    "SessionService.GetStatistics": Row(
        lambda its: GetStatisticsRequest(),
        answered(lambda it: it.sessions == 0 and not it.workers),
        answered(lambda it: it.sessions > 0),
    ),
    # Studies
    "StudyService.CreateStudy": Row(_study, unseen("SCENARIO_NOT_FOUND"), answered(lambda it: it.study.study_id)),
    "StudyService.GetStudy": of_study(lambda s: study.GetStudyRequest(study_id=s), lambda it: it.study.seq),
    "StudyService.ListStudies": Row(
        lambda its: study.ListStudiesRequest(),
        answered(lambda it: not it.studies),
        answered(lambda it: it.studies),
    ),
    "StudyService.CancelStudy": replace(
        of_study(lambda s: study.CancelStudyRequest(study_id=s), lambda it: it.study.state), destroys=True
    ),
    "StudyService.DeleteStudy": Row(
        lambda its: study.DeleteStudyRequest(study_id=its.study_id),
        unseen("STUDY_NOT_FOUND"),
        # It runs, or has just been cancelled.
        lambda outcome: outcome.code is grpc.StatusCode.OK or outcome.reason == "INVALID_TRANSITION",
        destroys=True,
    ),
    "StudyService.GetRanking": of_study(
        lambda s: study.GetRankingRequest(study_id=s), lambda it: it.ranking.variants[0].name == "as it is"
    ),
    "StudyService.ListCells": of_study(lambda s: study.ListCellsRequest(study_id=s), lambda it: not it.cells),
    "StudyService.WatchStudy": Row(
        lambda its: study.WatchStudyRequest(study_id=its.study_id),
        unseen("STUDY_NOT_FOUND"),
        lambda outcome: bool(outcome.responses) and outcome.responses[0].study.progress.cells <= 1,
        patience_s=ACCEPTED_S,
    ),
    # Of one session
    "SessionService.GetSession": of_session(lambda s: session.GetSessionRequest(session_id=s)),
    "SessionService.StartSession": of_session(lambda s: session.StartSessionRequest(session_id=s)),
    "SessionService.CancelSession": of_session(lambda s: session.CancelSessionRequest(session_id=s)),
    "SessionService.UpdateSession": of_session(
        lambda s: session.UpdateSessionRequest(
            session_id=s, display_name="mine", update_mask=FieldMask(paths=["display_name"])
        )
    ),
    "SessionService.SuspendSession": of_session(lambda s: session.SuspendSessionRequest(session_id=s)),
    "SessionService.ResumeSession": of_session(lambda s: session.ResumeSessionRequest(session_id=s)),
    "SessionService.RestartSession": of_session(lambda s: session.RestartSessionRequest(session_id=s)),
    "SessionService.TerminateSession": of_session(lambda s: session.TerminateSessionRequest(session_id=s)),
    "SessionService.CreateCheckpoint": of_session(lambda s: session.CreateCheckpointRequest(session_id=s)),
    "SessionService.RollbackSession": of_session(lambda s: session.RollbackSessionRequest(session_id=s, sim_time_s=0)),
    "SessionService.PinCheckpoint": of_session(
        lambda s: session.PinCheckpointRequest(session_id=s, checkpoint_id="c", pinned=True)
    ),
    "SessionService.DeleteCheckpoint": of_session(
        lambda s: session.DeleteCheckpointRequest(session_id=s, checkpoint_id="c")
    ),
    "SessionService.ForkSession": of_session(lambda s: session.ForkSessionRequest(session_id=s, sim_time_s=0)),
    "SessionService.ApplyIntervention": of_session(
        lambda s: session.ApplyInterventionRequest(session_id=s, intervention=_SPEED)
    ),
    "SessionService.SetPace": of_session(lambda s: session.SetPaceRequest(session_id=s, factor=1)),
    "SessionService.StepSession": of_session(lambda s: session.StepSessionRequest(session_id=s, steps=1)),
    "SessionService.RunUntil": of_session(lambda s: session.RunUntilRequest(session_id=s, sim_time_s=1)),
    "SessionService.DeleteSession": of_session(lambda s: session.DeleteSessionRequest(session_id=s)),
    "SessionService.UndeleteSession": of_session(lambda s: session.UndeleteSessionRequest(session_id=s)),
    "SessionService.GetSessionState": of_session(lambda s: session.GetSessionStateRequest(session_id=s)),
    "SessionService.VerifySession": of_session(lambda s: session.VerifySessionRequest(session_id=s)),
    "SessionService.ExplainSession": of_session(lambda s: session.ExplainSessionRequest(session_id=s)),
    # Scenarios
    "ScenarioService.UploadScenario": Row(_left_out, refused("FIELD_INVALID"), refused("SCENARIO_INVALID")),
    "ScenarioService.FindMissingFiles": Row(
        lambda its: scenario.FindMissingFilesRequest(files=[its.file]),
        answered(lambda it: len(it.paths) == 1),
        answered(lambda it: not it.paths),
    ),
    "ScenarioService.ValidateScenario": Row(
        lambda its: scenario.ValidateScenarioRequest(digest=its.scenario_digest),
        unseen("SCENARIO_NOT_FOUND"),
        answered(lambda it: not it.errors),
    ),
    "ScenarioService.GetScenario": Row(
        lambda its: scenario.GetScenarioRequest(digest=its.scenario_digest),
        unseen("SCENARIO_NOT_FOUND"),
        answered(lambda it: it.scenario),
    ),
    "ScenarioService.ListScenarios": Row(
        lambda its: scenario.ListScenariosRequest(),
        answered(lambda it: not it.scenarios),
        answered(lambda it: it.scenarios),
    ),
    "ScenarioService.DeleteScenario": Row(
        lambda its: scenario.DeleteScenarioRequest(digest=its.scenario_digest),
        unseen("SCENARIO_NOT_FOUND"),
        answered(lambda it: True),
        destroys=True,
    ),
    # Templates
    "TemplateService.CreateTemplate": Row(
        lambda its: _template(its.scenario_digest, name="new"),
        unseen("SCENARIO_NOT_FOUND"),
        answered(lambda it: it.template.version == 1),
    ),
    "TemplateService.GetTemplate": Row(
        lambda its: template.GetTemplateRequest(name=TEMPLATE),
        unseen("TEMPLATE_NOT_FOUND"),
        answered(lambda it: it.template.version == 1),
    ),
    "TemplateService.ListTemplates": Row(
        lambda its: template.ListTemplatesRequest(),
        answered(lambda it: not it.templates),
        answered(lambda it: it.templates),
    ),
    "TemplateService.FillTemplate": Row(
        lambda its: template.FillTemplateRequest(name=TEMPLATE),
        unseen("TEMPLATE_NOT_FOUND"),
        answered(lambda it: it.scenario.digest),
    ),
    "TemplateService.DeleteTemplate": Row(
        lambda its: template.DeleteTemplateRequest(name=TEMPLATE),
        unseen("TEMPLATE_NOT_FOUND"),
        answered(lambda it: True),
        destroys=True,
    ),
    # Events
    "EventService.ReadEvents": of_session(lambda s: event.ReadEventsRequest(session_id=s)),
    "EventService.GetHead": of_session(lambda s: event.GetHeadRequest(session_id=s)),
    "EventService.WatchEvents": of_session(lambda s: event.WatchEventsRequest(session_id=s)),
    "EventService.WatchAllEvents": Row(
        lambda its: event.WatchAllEventsRequest(session_ids=[its.session_id]),
        lambda outcome: outcome.responses != [] and not _stored_events(outcome),
        lambda outcome: len(_stored_events(outcome)) > 0,
    ),
    "EventService.QueryMetrics": Row(
        lambda its: QueryMetricsRequest(sessions=_sessions(its), metrics=["running"]),
        unseen("SESSION_NOT_FOUND"),
        answered(lambda it: it.sessions),
    ),
    "EventService.ExportEvents": Row(
        lambda its: ExportEventsRequest(sessions=_sessions(its), format=EXPORT_FORMAT_CSV),
        unseen("SESSION_NOT_FOUND"),
        lambda outcome: any(response.content for response in outcome.responses),
    ),
    # Blobs
    "BlobService.FindMissingBlobs": Row(
        lambda its: blob.FindMissingBlobsRequest(sha256=[its.file.sha256, its.scenario_digest]),
        answered(lambda it: len(it.sha256) == 2),
        answered(lambda it: not it.sha256),
    ),
    "BlobService.DownloadBlob": Row(
        lambda its: blob.DownloadBlobRequest(sha256=its.file.sha256),
        unseen("BLOB_NOT_FOUND"),
        lambda outcome: b"".join(one.content for one in outcome.responses) != b"",
    ),
    "BlobService.UploadBlob": Row(_sent_nothing, refused("DIGEST_MISMATCH"), answered(lambda it: it.already_stored)),
    "BlobService.HoldBlobs": Row(lambda its: blob.HoldBlobsRequest(holder="scenario/x"), *_ADMIN_ONLY),
    # Whoever runs it
    "StoreAdminService.CleanUp": Row(lambda its: admin.CleanUpRequest(dry_run=True), *_ADMIN_ONLY),
    "SessionAdminService.RebuildSessions": Row(lambda its: admin.RebuildSessionsRequest(), *_ADMIN_ONLY),
    "SessionAdminService.ApplyRetention": Row(lambda its: admin.ApplyRetentionRequest(dry_run=True), *_ADMIN_ONLY),
    "SessionAdminService.SetQuota": Row(lambda its: admin.SetQuotaRequest(tenant="t"), *_ADMIN_ONLY),
    "SessionAdminService.GetQuota": Row(lambda its: admin.GetQuotaRequest(tenant="t"), *_ADMIN_ONLY),
    "SessionAdminService.ListQuotas": Row(lambda its: admin.ListQuotasRequest(), *_ADMIN_ONLY),
    # KEDA
    "ExternalScaler.IsActive": _of_pool(lambda pool: pool),
    "ExternalScaler.StreamIsActive": _of_pool(lambda pool: pool),
    "ExternalScaler.GetMetricSpec": _of_pool(lambda pool: pool),
    "ExternalScaler.StreamMetricSpec": _of_pool(lambda pool: pool),
    "ExternalScaler.GetMetrics": _of_pool(lambda pool: scaler.GetMetricsRequest(scaledObjectRef=pool)),
}


CLOSED = {name: row for name, row in ROWS.items() if not row.open}


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
    made = await owner.call("TemplateService.CreateTemplate", _template(digest, name=TEMPLATE))
    assert made.response.template.version == 1
    its = Belongings(await new_session(owner, digest), digest, listed[0])
    made = await owner.call("StudyService.CreateStudy", _study(its))
    return replace(its, study_id=made.response.study.study_id)


async def new_session(owner: Caller, scenario_digest: str) -> str:
    """A session that waits for a worker, and is stored."""
    spec = SessionSpec(scenario_digest=scenario_digest)
    created = await owner.call("SessionService.CreateSession", session.CreateSessionRequest(spec=spec))
    name: str = created.response.session.session_id
    head = await owner.call("EventService.GetHead", event.GetHeadRequest(session_id=name))
    assert head.response.head_seq == 1
    return name


async def test_every_rpc_of_every_service_has_a_row() -> None:
    assert set(ROWS) == set(methods())


async def test_what_belongs_to_another_tenant_does_not_exist(guarded: Guarded) -> None:
    owner = guarded.caller("owner")
    its = await belongings(owner)
    before = await owner.call("EventService.ReadEvents", event.ReadEventsRequest(session_id=its.session_id))

    async def ask(name: str, row: Row) -> tuple[str, Outcome] | None:
        outcome = await guarded.caller("foreigner").call(
            name, *row.requests(its), timeout_s=row.patience_s if row.open else CALL_S
        )
        return None if row.foreign(outcome) else (name, outcome)

    assert [wrong for wrong in await asyncio.gather(*(ask(*one) for one in ROWS.items())) if wrong] == []
    after = await owner.call("EventService.ReadEvents", event.ReadEventsRequest(session_id=its.session_id))
    assert after.response.events == before.response.events


async def test_it_exists_for_its_owner(guarded: Guarded) -> None:
    owner = guarded.caller("owner")
    its = await belongings(owner)
    names = await asyncio.gather(*(new_session(owner, its.scenario_digest) for _ in ROWS))

    async def ask(name: str, row: Row, session_id: str) -> tuple[str, Outcome] | None:
        # Nobody is there to carry commands out: those that wait for a worker were accepted.
        outcome = await owner.call(name, *row.requests(replace(its, session_id=session_id)), timeout_s=row.patience_s)
        return None if row.owner(outcome) else (name, outcome)

    everything = list(zip(ROWS.items(), names, strict=True))
    for destroys in (False, True):
        asked = (ask(*one, session_id) for one, session_id in everything if one[1].destroys == destroys)
        assert [wrong for wrong in await asyncio.gather(*asked) if wrong] == []


async def test_without_a_token_nothing_is_answered(guarded: Guarded) -> None:
    its = Belongings("s", "0" * 64, ScenarioFile(path="f", sha256="0" * 64, size_bytes=1))
    refusal = (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED", "missing")
    for name, row in CLOSED.items():
        outcome = await guarded.bearer(None).call(name, *row.requests(its))
        assert (outcome.code, outcome.reason, outcome.metadata["rule"]) == refusal, name


async def test_a_user_cannot_name_the_tenant_of_a_call(guarded: Guarded) -> None:
    owner, foreigner = guarded.caller("owner"), guarded.caller("foreigner", roles=["service", "admin"])
    its = await belongings(owner)
    forged = dict(foreigner._metadata)["authorization"].removeprefix("Bearer ")
    liar = guarded.bearer(forged, milepost_tenant=owner.tenant)
    outcomes = {name: await liar.call(name, *row.requests(its)) for name, row in CLOSED.items()}
    assert {one.reason for one in outcomes.values()} == {"NOT_PERMITTED"}


async def test_two_tenants_may_use_one_id_and_neither_meets_the_other(guarded: Guarded) -> None:
    north, south = guarded.caller(), guarded.caller()
    name = f"rush-{uuid.uuid4().hex[:8]}"
    for caller in (north, south):
        its = await belongings(caller)
        wanted = session.CreateSessionRequest(
            session_id=name,
            display_name=caller.tenant,
            spec=SessionSpec(scenario_digest=its.scenario_digest),
            request_id=str(uuid.UUID(int=7)),
            create_only=True,
        )
        assert (await caller.call("SessionService.CreateSession", wanted)).response.session.session_id == name
    await north.call("SessionService.CancelSession", session.CancelSessionRequest(session_id=name))
    for caller, ended in ((north, True), (south, False)):
        found = (await caller.call("SessionService.GetSession", session.GetSessionRequest(session_id=name))).response
        assert found.session.display_name == caller.tenant
        assert found.session.HasField("end_time") == ended


async def test_equal_content_is_stored_once_and_read_only_by_who_sent_it(guarded: Guarded) -> None:
    first, second = guarded.caller(), guarded.caller()
    content = uuid.uuid4().bytes
    digest = hashlib.sha256(content).hexdigest()
    upload = [
        blob.UploadBlobRequest(ref=blob.BlobRef(sha256=digest, size_bytes=len(content))),
        blob.UploadBlobRequest(content=content),
    ]
    assert not (await first.call("BlobService.UploadBlob", *upload)).response.already_stored
    # As new to the second as to the first.
    assert (await second.call("BlobService.DownloadBlob", blob.DownloadBlobRequest(sha256=digest))).reason
    assert not (await second.call("BlobService.UploadBlob", *upload)).response.already_stored
    assert (await second.call("BlobService.UploadBlob", *upload)).response.already_stored
    for caller in (first, second):
        read = await caller.call("BlobService.DownloadBlob", blob.DownloadBlobRequest(sha256=digest))
        assert read.responses[0].content == content
