"""What a sim worker is made of."""

import asyncio
import shutil

import structlog

from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.dispatch.v1.dispatch_pb2 import WorkerPresence
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from runtime.blobs import Blobs
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from runtime.channels import open_channel
from runtime.grpc_server import GrpcServer, serving
from runtime.process import Lifetime, cancel, run_service
from session_log.reader import LogReader
from sim_worker.adapters.presence import announce, answer_questions, answer_replays
from sim_worker.application.answer_question import AnswerQuestion
from sim_worker.application.answer_replays import AnswerReplays
from sim_worker.application.choose_start import ChooseStart
from sim_worker.application.end_session import EndSession
from sim_worker.application.fetch_past import FetchPast
from sim_worker.application.keep_artifacts import KeepArtifacts
from sim_worker.application.look_out import LookOut
from sim_worker.application.prepare_scene import PrepareScene
from sim_worker.application.rebase import Rebase
from sim_worker.application.relieve_pressure import RelievePressure
from sim_worker.application.replay import ReplayTools
from sim_worker.application.run_attempt import RunAttempt
from sim_worker.application.simulate import Limits, Simulate
from sim_worker.application.snapshots import Snapshots
from sim_worker.application.work import Work
from sim_worker.gateways.frame_interest import FrameInterests
from sim_worker.gateways.machine import Machine, disk_bytes
from sim_worker.gateways.order_queue import OrderQueue
from sim_worker.gateways.scene_files import SceneFiles
from sim_worker.gateways.zygote import Zygote
from sim_worker.settings import SimWorkerSettings

log = structlog.get_logger()

# How long sessions may take to be handed over after SIGTERM, seconds; then they are found by their lease.
HAND_OVER_S = 20.0
_MIB = 1024 * 1024


async def serve(settings: SimWorkerSettings, lifetime: Lifetime) -> None:
    """Work until asked to stop."""
    sessions_folder = settings.work_dir / "sessions"
    if sessions_folder.exists():
        # What an earlier life of this worker left behind; its processes died with it.
        await asyncio.to_thread(shutil.rmtree, sessions_folder)
    sessions_folder.mkdir(parents=True)
    # Before any gRPC channel exists: see determinism.md on fork.
    zygote = await Zygote.start()
    # No reconnect buffer, no echo: it appends to logs and listens on their subjects for others (log.md R3).
    broker = await connect(settings.nats_url, name=settings.worker_id, appends=True, echo=False)
    js = jetstream(broker)
    await ensure_streams(js)
    interests = FrameInterests()
    await interests.listen(broker)
    async with open_channel(settings.event_store) as channel:
        blobs = Blobs(BlobServiceStub(channel))
        reader = LogReader(EventServiceStub(channel), js)
        limits = Limits(
            memory_limit_mib=settings.memory_limit_mib,
            file_size_limit_mib=settings.file_size_limit_mib,
            init_timeout_s=settings.init_timeout_s,
            stall_timeout_s=settings.stall_timeout_s,
            niceness=settings.niceness,
        )
        snapshots = Snapshots()
        fetch_past = FetchPast(reader, blobs)
        prepare_scene = PrepareScene(SceneFiles(settings.work_dir / "cache", blobs))
        choose_start = ChooseStart(snapshots, prepare_scene, blobs, zygote)
        keep_artifacts = KeepArtifacts(blobs, settings.artifact_limit_mib * _MIB)
        simulate = Simulate(zygote, limits, broker, reader, interests, snapshots, blobs, settings.worker_id)
        run_attempt = RunAttempt(
            js=js,
            reader=reader,
            fetch_past=fetch_past,
            choose_start=choose_start,
            rebase=Rebase(choose_start, keep_artifacts),
            simulate=simulate,
            end=EndSession(keep_artifacts, fetch_past),
            look_out=LookOut(broker),
            snapshots=snapshots,
            sessions_folder=sessions_folder,
            worker_id=settings.worker_id,
            stopping=lifetime.stop,
        )
        work = Work(
            broker=broker,
            queue=OrderQueue(broker, settings.pool),
            reader=reader,
            run_attempt=run_attempt,
            worker_id=settings.worker_id,
            slots=settings.slots,
            lease_s=settings.lease_s,
            stopping=lifetime.stop,
        )
        machine = Machine(sessions_folder, settings.min_memory_mib * _MIB, settings.min_disk_mib * _MIB)
        relieve = RelievePressure(machine, work, simulate.children, lambda key: disk_bytes(sessions_folder, key))
        tools = ReplayTools(prepare_scene, zygote, limits, snapshots, blobs)
        replays = AnswerReplays(broker, reader, fetch_past, tools, sessions_folder)
        await answer_questions(broker, worker_id=settings.worker_id, answer=AnswerQuestion(work, simulate.children))
        await answer_replays(broker, pool=settings.pool, answer=replays)

        def refresh(presence: WorkerPresence) -> None:
            presence.busy, presence.cpu_load = work.busy, machine.cpu_load()
            presence.closed_because = f"{relieve.closed_because} pressure" if relieve.closed_because else ""

        server = GrpcServer(settings)
        async with serving(server, (), grace_s=settings.drain_s), asyncio.TaskGroup() as tasks:
            here = WorkerPresence(worker_id=settings.worker_id, pool=settings.pool, slots=settings.slots)
            presence = tasks.create_task(announce(broker, here, refresh), name="presence")
            relieving = tasks.create_task(relieve(), name="pressure")
            working = tasks.create_task(work(), name="work")
            lifetime.ready(server.address)
            await lifetime.stop.wait()
            done, _ = await asyncio.wait({working}, timeout=HAND_OVER_S)
            if not done:
                log.warning("hand-over took too long", busy=work.busy)
            await cancel(working, presence, relieving)
    await zygote.close()
    await disconnect(broker)


def main() -> None:
    """Run the service."""
    run_service("sim_worker", SimWorkerSettings, serve)
