"""What the event store is made of."""

import asyncio
from datetime import timedelta

import structlog

from event_store.adapters.admin_service import SERVICE as ADMIN_SERVICE
from event_store.adapters.admin_service import StoreAdminServiceAdapter
from event_store.adapters.blob_service import BlobServiceAdapter
from event_store.adapters.event_service import SERVICE as EVENT_SERVICE
from event_store.adapters.event_service import EventServiceAdapter, add_event_service
from event_store.application.chunks import Chunks
from event_store.application.clean_up import CleanUp
from event_store.application.collect_garbage import CollectGarbage
from event_store.application.commit_pace import CommitPace
from event_store.application.cut_runs import CutRuns
from event_store.application.drop_deleted import DropDeleted
from event_store.application.export_log import ExportLog
from event_store.application.find_log import FindLog
from event_store.application.follow_all import FollowAll
from event_store.application.frames import FrameSource
from event_store.application.heads import Heads
from event_store.application.ingest import EpochChanged, Ingest
from event_store.application.ingest_in_turn import IngestInTurn
from event_store.application.load import Load
from event_store.application.measure_store import MeasureStore
from event_store.application.note_references import NoteReferences
from event_store.application.phases import Phases
from event_store.application.purge import Purge
from event_store.application.query_metrics import QueryMetrics
from event_store.application.read_log import ReadLog
from event_store.application.select_logs import SelectLogs
from event_store.application.watch_log import WatchLog
from event_store.gateways.blob_folder import BlobFolder
from event_store.gateways.blob_keeping import BlobKeeping
from event_store.gateways.cuts import Cuts
from event_store.gateways.deletions import Deletions
from event_store.gateways.event_appends import EventAppends
from event_store.gateways.event_rows import EventRows
from event_store.gateways.ingest_lease import IngestLease
from event_store.gateways.references import Unnoted
from event_store.migrate import MIGRATIONS
from event_store.settings import EventStoreSettings
from milepost.admin.v1.admin_service_pb2_grpc import add_StoreAdminServiceServicer_to_server
from milepost.blob.v1 import blob_service_pb2
from milepost.blob.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from runtime.database import is_away, open_database
from runtime.grpc_server import GrpcServer, serving
from runtime.process import Lifetime, cancel, run_service

log = structlog.get_logger()

BLOB_SERVICE = blob_service_pb2.DESCRIPTOR.services_by_name["BlobService"].full_name
SERVICES = (EVENT_SERVICE, BLOB_SERVICE, ADMIN_SERVICE)


async def serve(settings: EventStoreSettings, lifetime: Lifetime) -> None:
    """Serve until asked to stop."""
    # Of its own notices the store need not hear.
    broker = await connect(settings.nats_url, name="event_store", echo=False)
    js = jetstream(broker)
    await ensure_streams(js, replicas=settings.stream_replicas)
    async with open_database(settings.database_url, migrations=MIGRATIONS) as engine:
        writing, drain = asyncio.Lock(), asyncio.Event()
        # SQLite lets its writers starve each other; elsewhere ingestion waits for no upload.
        writing_blobs = writing if engine.dialect.name == "sqlite" else asyncio.Lock()
        rows, appends = EventRows(engine), EventAppends(engine, writing)
        heads, load = Heads(rows, broker), Load()
        deletions = Deletions(engine, writing)
        find, frames = FindLog(rows, heads, broker, deletions), FrameSource(broker, load)
        select = SelectLogs(rows, find)
        lease = timedelta(seconds=settings.blob_lease_s)
        folder = BlobFolder(settings.blob_url, engine, writing_blobs, lease)
        keeping = BlobKeeping(engine, writing_blobs, lease)
        chunks, phases = Chunks(rows), Phases(rows)
        clean_up = CleanUp(
            DropDeleted(
                js,
                rows,
                deletions,
                chunks.forget,
                purge_delay=timedelta(seconds=settings.purge_delay_s),
                tombstone=timedelta(seconds=settings.tombstone_s),
            ),
            CutRuns(rows, Cuts(engine, writing), _span(settings.cut_runs_after_s)),
            CollectGarbage(js, rows, keeping, folder),
            settings.clean_up_s,
        )
        await heads.listen()
        server = GrpcServer(settings, is_away)
        add_event_service(
            EventServiceAdapter(
                read=ReadLog(find, rows, phases),
                watch=WatchLog(find, heads, chunks, phases, frames, drain),
                follow=FollowAll(rows, heads, drain),
                find=find,
                heads=heads,
                metrics=QueryMetrics(select, rows),
                export=ExportLog(select, rows),
            ),
            server.server,
        )
        add_BlobServiceServicer_to_server(BlobServiceAdapter(folder, keeping, settings.blob_max_bytes), server.server)
        add_StoreAdminServiceServicer_to_server(StoreAdminServiceAdapter(clean_up), server.server)
        ingest = IngestInTurn(
            IngestLease(engine), Ingest(broker, appends, heads.wake, CommitPace(lambda: heads.watched))
        )
        async with serving(server, SERVICES, grace_s=settings.drain_s), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_ingest(ingest, server), name="ingest"),
                tasks.create_task(heads.keep_level(), name="heads"),
                tasks.create_task(heads.measure_lag(), name="lag"),
                tasks.create_task(load.measure(), name="load"),
                tasks.create_task(frames.say_interest(), name="interest"),
                tasks.create_task(NoteReferences(Unnoted(engine, writing), rows)(), name="note-references"),
                tasks.create_task(clean_up(), name="clean-up"),
                tasks.create_task(MeasureStore(keeping)(), name="measure"),
                tasks.create_task(Purge(js, rows, appends, settings.purge_delay_s)(), name="purge"),
            ]
            lifetime.ready(server.address)
            await lifetime.stop.wait()
            # Watches end by themselves with a cursor to resume by, before the server refuses calls.
            drain.set()
            heads.kick_all()
            await cancel(*running)
    await disconnect(broker)


def _span(seconds: float) -> timedelta | None:
    """A time that is set; None for 0, which means never."""
    return timedelta(seconds=seconds) if seconds else None


async def _ingest(ingest: IngestInTurn, server: GrpcServer) -> None:
    """Ingest; when it must not go on, say so by health and serve what is stored."""
    try:
        await ingest()
    except EpochChanged:
        log.error("ingestion has stopped; what is stored is still served")
        await server.unhealthy(EVENT_SERVICE)


def main() -> None:
    """Run the service."""
    run_service("event_store", EventStoreSettings, serve)
