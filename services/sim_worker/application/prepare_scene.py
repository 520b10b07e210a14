"""Prepare a session's scene: a fresh directory, files by digest, outputs redirected, SUMO's arguments."""

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from milepost.event.v1.event_pb2 import ScenePrepared
from milepost.scenario.v1.scenario_pb2 import Scene as SceneMessage
from milepost.session.v1.session_pb2 import Failure, FailureReason, SessionSpec
from runtime.blobs import BlobCorrupt, BlobMissing
from scenario.model import ScenarioRejected
from scenario.prepare import PreparedScene, RunOptions, prepare
from scenario.wire import edge_data_from_proto, scene_from_proto
from sim_worker.gateways.prepared_scenes import PreparedScenes
from sim_worker.gateways.scene_files import SceneFiles

log = structlog.get_logger()
_RETRY_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A directory in which SUMO can be started."""

    directory: Path
    arguments: Sequence[str]
    prepared: ScenePrepared


@dataclass(eq=False)
class SceneFailed(Exception):
    """The scene cannot be prepared, now or ever."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class PrepareScene:
    """Lays a session's directory out: from what was prepared before, else from the scenario's files."""

    files: SceneFiles
    before: PreparedScenes

    async def __call__(self, spec: SessionSpec, wanted: SceneMessage, directory: Path) -> Scene:
        """Raises SceneFailed; waits while the store does not answer."""
        if directory.exists():
            shutil.rmtree(directory)
        root = directory / "scene"
        root.mkdir(parents=True)
        # The scene in the log is resolved: the request's own options and end are in it already.
        options = RunOptions(
            seed=spec.seed, ignore_route_errors=spec.ignore_route_errors, edge_data=edge_data_from_proto(spec)
        )
        key = _key(wanted, options)
        prepared = await self.before.lay_out(key, root, seed=spec.seed)
        if prepared is None:
            shutil.rmtree(root)
            root.mkdir()
            await self._fetch(wanted.scenario_digest, root)
            prepared = await _prepared(root, wanted, options)
            await self.before.keep(key, root, prepared)
        names = sorted(output.path for output in prepared.outputs)
        return Scene(
            directory, prepared.arguments, ScenePrepared(scenario_digest=wanted.scenario_digest, outputs=names)
        )

    async def _fetch(self, scenario_digest: str, root: Path) -> None:
        while True:
            try:
                await self.files.lay_out(scenario_digest, root)
                return
            except (BlobMissing, BlobCorrupt) as error:
                raise SceneFailed(
                    Failure(
                        reason=FailureReason.FAILURE_REASON_SCENARIO_UNAVAILABLE,
                        message=f"the store has lost {error.sha256} of the scenario",
                    )
                ) from error
            except grpc.aio.AioRpcError as error:
                log.warning("scene waits for the store", status=error.code().name)
                await asyncio.sleep(_RETRY_WAIT_S)
                shutil.rmtree(root)
                root.mkdir()


async def _prepared(root: Path, wanted: SceneMessage, options: RunOptions) -> PreparedScene:
    try:
        return await asyncio.to_thread(prepare, root, scene_from_proto(wanted), spec=options)
    except ScenarioRejected as error:
        finding = error.findings[0]
        raise SceneFailed(
            Failure(
                reason=FailureReason.FAILURE_REASON_SCENARIO_INVALID,
                message=finding.message,
                file=finding.file,
                line=finding.line,
            )
        ) from error


def _key(wanted: SceneMessage, options: RunOptions) -> str:
    """Names everything that prepared files and arguments depend on, but for the seed."""
    told = f"{options.ignore_route_errors}{options.edge_data or ''}".encode()
    return hashlib.sha256(wanted.SerializeToString(deterministic=True) + told).hexdigest()
