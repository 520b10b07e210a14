"""Every RPC of every service: what it is asked for, and what becomes of it. A new RPC needs a row here."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import grpc
from belongings import TEMPLATE, Belongings, study_request, template_request
from calls import ACCEPTED_S, Row, answered, of_session, of_study, refused, unseen
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from guarded_stack import Outcome

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
from milepost.session.v1 import session_service_pb2 as session
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.session.v1.statistics_pb2 import GetStatisticsRequest
from milepost.study.v1 import study_service_pb2 as study

_SPEED = Intervention(set_speed_limit=SetSpeedLimit(place=Place(edge_ids=["e"]), speed_mps=5))
_ADMIN_ONLY = (unseen("NOT_PERMITTED", grpc.StatusCode.PERMISSION_DENIED),) * 2


def _created(its: Belongings) -> session.CreateSessionRequest:
    return session.CreateSessionRequest(spec=SessionSpec(scenario_digest=its.scenario_digest), create_only=True)


def _left_out(its: Belongings) -> Sequence[Message]:
    """An upload that leaves a file out, because the server has it."""
    manifest = scenario.Manifest(files=[its.file])
    return [scenario.UploadScenarioRequest(header=scenario.UploadHeader(manifest=manifest))]


def _sent_nothing(its: Belongings) -> Sequence[Message]:
    """A blob that is announced and not sent."""
    return [blob.UploadBlobRequest(ref=blob.BlobRef(sha256=its.file.sha256, size_bytes=its.file.size_bytes))]


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
    "StudyService.CreateStudy": Row(
        study_request, unseen("SCENARIO_NOT_FOUND"), answered(lambda it: it.study.study_id)
    ),
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
        lambda its: template_request(its.scenario_digest, name="new"),
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
