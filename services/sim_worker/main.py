"""What a sim worker is made of."""

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

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
from sim_worker.application.leave_when_idle import leave_when_idle
from sim_worker.application.lingering import Lingering
from sim_worker.application.look_out import LookOut
from sim_worker.application.prepare_scene import PrepareScene
from sim_worker.application.price_pod import PricePod
from sim_worker.application.rebase import Rebase
from sim_worker.application.relieve_pressure import RelievePressure
from sim_worker.application.replay import ReplayTools
from sim_worker.application.run_attempt import RunAttempt
from sim_worker.application.simulate import Limits, Simulate
from sim_worker.application.snapshots import Snapshots
from sim_worker.application.work import Work
from sim_worker.gateways.allocator import LIBC
from sim_worker.gateways.frame_interest import FrameInterests
from sim_worker.gateways.machine import Machine, disk_bytes
from sim_worker.gateways.order_queue import OrderQueue
from sim_worker.gateways.own_pod import OwnPod
from sim_worker.gateways.prepared_scenes import PreparedScenes
from sim_worker.gateways.scene_files import SceneFiles
from sim_worker.gateways.zygote import Zygote
from sim_worker.settings import SimWorkerSettings

log = structlog.get_logger()

# How long sessions may take to be handed over after SIGTERM, seconds; then they are found by their lease.
HAND_OVER_S = 20.0
_MIB = 1024 * 1024


async def serve(settings: SimWorkerSettings, lifetime: Lifetime) -> None:
    """Work until asked to stop."""
    sessions_folder = await asyncio.to_thread(_empty, settings.work_dir / "sessions")
    # Before any gRPC channel exists: see determinism.md on fork.
    zygote = await Zygote.start(settings.allocator)
    log.info("simulations allocate with", library=zygote.ready.allocator or LIBC)
    # No reconnect buffer, no echo: it appends to logs and listens on their subjects for others (log.md R3).
    broker = await connect(settings.nats_url, name=settings.worker_id, appends=True, echo=False)
    js = jetstream(broker)
    await ensure_streams(js, replicas=settings.stream_replicas)
    interests = FrameInterests()
    await interests.listen(broker)
    async with open_channel(settings.event_store, settings, service=settings.worker_id) as channel:
        blobs = Blobs(BlobServiceStub(channel))
        reader = LogReader(EventServiceStub(channel), js)
        limits = _limits(settings)
        snapshots, lingering = Snapshots(), Lingering(settings.lingering_copies)
        fetch_past = FetchPast(reader, blobs)
        prepare_scene = PrepareScene(
            SceneFiles(settings.work_dir / "cache", blobs), PreparedScenes(settings.work_dir / "prepared")
        )
        choose_start = ChooseStart(snapshots, lingering, prepare_scene, blobs, zygote)
        keep_artifacts = KeepArtifacts(blobs, settings.artifact_limit_mib * _MIB)
        simulate = Simulate(zygote, limits, broker, reader, interests, snapshots, lingering, blobs, settings.worker_id)
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
        relieve = RelievePressure(
            machine, work, lingering, simulate.children, lambda key: disk_bytes(sessions_folder, key)
        )
        tools = ReplayTools(prepare_scene, zygote, limits, snapshots, blobs)
        replays = AnswerReplays(broker, reader, fetch_past, tools, sessions_folder)
        await answer_questions(broker, worker_id=settings.worker_id, answer=AnswerQuestion(work, simulate.children))
        await answer_replays(broker, pool=settings.pool, answer=replays)

        def refresh(presence: WorkerPresence) -> None:
            presence.busy, presence.cpu_load = work.busy_slots, machine.cpu_load()
            presence.memory_free_bytes = machine.memory_free_bytes()
            presence.sumo_version = zygote.ready.sumo_version
            presence.libm_fingerprint = zygote.ready.libm_fingerprint
            presence.closed_because = f"{relieve.closed_because} pressure" if relieve.closed_because else ""

        server = GrpcServer(settings)
        async with serving(server, (), grace_s=settings.drain_s), asyncio.TaskGroup() as tasks:
            here = WorkerPresence(worker_id=settings.worker_id, pool=settings.pool, slots=settings.slots)
            presence = tasks.create_task(announce(broker, here, refresh), name="presence")
            relieving = tasks.create_task(relieve(), name="pressure")
            working = tasks.create_task(work(), name="work")
            beside = [presence, relieving, *map(tasks.create_task, _as_asked(settings, work, lifetime.stop))]
            lifetime.ready(server.address)
            await lifetime.stop.wait()
            done, _ = await asyncio.wait({working}, timeout=HAND_OVER_S)
            if not done:
                log.warning("hand-over took too long", busy=work.busy)
            await cancel(working, *beside)
            lingering.leave_all()
    await zygote.close()
    await disconnect(broker)


def _as_asked(settings: SimWorkerSettings, work: Work, stop: asyncio.Event) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on beside the work where the settings want it."""
    if settings.pod_name:
        yield PricePod(OwnPod(settings.pod_name), lambda: work.busy)()
    if settings.idle_exit_s:
        yield leave_when_idle(lambda: work.busy, after_s=settings.idle_exit_s, stop=stop)


def _empty(folder: Path) -> Path:
    """The folder, without what an earlier life of this worker left behind; its processes died with it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _limits(settings: SimWorkerSettings) -> Limits:
    return Limits(
        memory_limit_mib=settings.memory_limit_mib,
        file_size_limit_mib=settings.file_size_limit_mib,
        init_timeout_s=settings.init_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        niceness=settings.niceness,
    )


def main() -> None:
    """Run the service."""
    run_service("sim_worker", SimWorkerSettings, serve)
