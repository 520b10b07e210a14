"""What the session API is made of."""

import asyncio
from datetime import timedelta

from externalscaler.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from milepost.admin.v1.admin_service_pb2_grpc import add_SessionAdminServiceServicer_to_server
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.scenario.v1 import scenario_service_pb2, template_service_pb2
from milepost.scenario.v1.scenario_service_pb2_grpc import add_ScenarioServiceServicer_to_server
from milepost.scenario.v1.template_service_pb2_grpc import add_TemplateServiceServicer_to_server
from milepost.session.v1 import session_service_pb2
from milepost.session.v1.session_service_pb2_grpc import add_SessionServiceServicer_to_server
from milepost.study.v1 import study_service_pb2
from milepost.study.v1.study_service_pb2_grpc import add_StudyServiceServicer_to_server
from runtime.blobs import Blobs
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from runtime.channels import open_channel
from runtime.database import is_away, open_database
from runtime.grpc_server import GrpcServer, serving
from runtime.process import Lifetime, cancel, run_service
from scenario.limits import UploadLimits
from session_api.adapters.admin_service import SERVICE as ADMIN_SERVICE
from session_api.adapters.admin_service import SessionAdminServiceAdapter
from session_api.adapters.event_feed import follow_store
from session_api.adapters.external_scaler import SERVICE as EXTERNAL_SCALER
from session_api.adapters.external_scaler import ExternalScalerAdapter
from session_api.adapters.scenario_service import ScenarioServiceAdapter
from session_api.adapters.session_service import SessionServiceAdapter
from session_api.application.admission import Admission
from session_api.application.append_command import AppendCommand
from session_api.application.batch_create_sessions import BatchCreateSessions
from session_api.application.begin_log import BeginLog
from session_api.application.create_demo_session import CreateDemoSession
from session_api.application.create_session import CreateSession
from session_api.application.delete_scenario import DeleteScenario
from session_api.application.gather_statistics import GatherStatistics
from session_api.application.measure_sessions import MeasureSessions
from session_api.application.place_orders import PlaceOrders
from session_api.application.projection_lag import ProjectionLag
from session_api.application.reap import Reap
from session_api.application.rebuild_sessions import RebuildSessions
from session_api.application.receive_upload import ReceiveUpload
from session_api.application.reconcile_orders import ReconcileOrders
from session_api.application.retire import Retire
from session_api.application.scale_pool import ScalePool
from session_api.application.store_scenario import StoreScenario
from session_api.application.tell_quotas import TellQuotas
from session_api.application.validate_scenario import ValidateScenario
from session_api.application.verbs import Verbs
from session_api.gateways.fleet import Fleet
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.replays import Replays
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.session_counts import SessionCounts
from session_api.gateways.sessions_kept import KeptSessions
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.wanted_slots import WantedSlots
from session_api.gateways.work_orders import WorkOrders
from session_api.migrate import MIGRATIONS
from session_api.settings import SessionApiSettings
from session_api.study_rooms import StudyRooms
from session_api.template_rooms import TemplateRooms
from session_log.reader import LogReader

SERVICES = (
    session_service_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name,
    scenario_service_pb2.DESCRIPTOR.services_by_name["ScenarioService"].full_name,
    template_service_pb2.DESCRIPTOR.services_by_name["TemplateService"].full_name,
    study_service_pb2.DESCRIPTOR.services_by_name["StudyService"].full_name,
    ADMIN_SERVICE,
    EXTERNAL_SCALER,
)


async def serve(settings: SessionApiSettings, lifetime: Lifetime) -> None:
    """Serve until asked to stop."""
    # No reconnect buffer: this connection appends (log.md R3).
    broker = await connect(settings.nats_url, name="session_api", appends=True)
    js = jetstream(broker)
    await ensure_streams(js, replicas=settings.stream_replicas)
    async with (
        open_database(settings.database_url, migrations=MIGRATIONS) as engine,
        open_channel(settings.event_store, settings, service="session_api") as channel,
    ):
        store = EventServiceStub(channel)
        blobs = Blobs(BlobServiceStub(channel))
        sessions, scenarios, lag = Sessions(engine), Scenarios(engine), ProjectionLag()
        orders = WorkOrders(js, lease_s=settings.lease_s)
        limits = UploadLimits(max_total_bytes=settings.upload_max_bytes)
        fleet, reader = Fleet(broker), LogReader(store, js)
        begin = BeginLog(js, reader, sessions, Admission(js))
        quotas = Quotas(engine, sessions)
        place = PlaceOrders(orders, sessions, quotas)
        create = CreateSession(begin, sessions, scenarios, place, settings.pool)
        await fleet.listen()
        verbs = Verbs.of(
            AppendCommand(js, reader, sessions, place),
            begin=begin,
            scenarios=scenarios,
            blobs=blobs,
            fleet=fleet,
            replays=Replays(broker),
            undelete_window=timedelta(seconds=settings.undelete_window_s),
        )
        kept = KeptSessions(engine, sessions)
        keep_ended = timedelta(seconds=settings.keep_ended_s) if settings.keep_ended_s else None
        retire = Retire(kept, verbs.delete, keep_ended)
        store_scenario = StoreScenario(scenarios, blobs, limits, quotas)
        templates = TemplateRooms.of(engine, scenarios, blobs, quotas, limits)
        studies = StudyRooms.of(
            js=js,
            reader=reader,
            blobs=blobs,
            engine=engine,
            sessions=sessions,
            variants=templates.variants,
            create=create,
            verbs=verbs,
            fleet=fleet,
            pool=settings.pool,
            share_results=settings.share_results,
            keep_results=timedelta(seconds=settings.keep_results_s) if settings.keep_results_s else None,
            stop=lifetime.stop,
        )

        server = GrpcServer(settings, is_away)
        add_SessionServiceServicer_to_server(
            SessionServiceAdapter(
                create=create,
                create_batch=BatchCreateSessions(create),
                create_demo=CreateDemoSession(create, store_scenario),
                verbs=verbs,
                sessions=sessions,
                statistics=GatherStatistics(sessions, fleet, lag),
            ),
            server.server,
        )
        add_ScenarioServiceServicer_to_server(
            ScenarioServiceAdapter(
                receive=ReceiveUpload(blobs, limits),
                store=store_scenario,
                validate=ValidateScenario(blobs),
                delete=DeleteScenario(scenarios, blobs),
                scenarios=scenarios,
                blobs=blobs,
            ),
            server.server,
        )
        add_TemplateServiceServicer_to_server(templates.adapter(), server.server)
        add_StudyServiceServicer_to_server(studies.adapter(), server.server)
        add_SessionAdminServiceServicer_to_server(
            SessionAdminServiceAdapter(
                RebuildSessions(store, reader, sessions, kept), retire, TellQuotas(quotas, orders)
            ),
            server.server,
        )
        scale = ScalePool(WantedSlots(js), settings.pool, lifetime.stop, settings.max_connection_age_s)
        add_ExternalScalerServicer_to_server(ExternalScalerAdapter(scale), server.server)
        async with serving(server, SERVICES, grace_s=settings.drain_s), asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(follow_store(store, sessions, lag), name="feed")
            reconciler = tasks.create_task(ReconcileOrders(sessions, place, settings.reconcile_s)(), name="reconcile")
            reap = Reap(sessions, verbs.end, retire, studies.forget, settings.reap_s)
            reaper = tasks.create_task(reap(), name="reap")
            measuring = tasks.create_task(MeasureSessions(SessionCounts(engine), fleet)(), name="measure")
            holder = tasks.create_task(templates.hold(), name="hold-scenarios")
            runner = tasks.create_task(studies.run(), name="studies")
            dropper = tasks.create_task(studies.drop(), name="drop-studies")
            lifetime.ready(server.address)
            await lifetime.stop.wait()
            await cancel(feed, reconciler, reaper, measuring, holder, runner, dropper)
    await disconnect(broker)


def main() -> None:
    """Run the service."""
    run_service("session_api", SessionApiSettings, serve)
