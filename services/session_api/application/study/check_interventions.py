"""Interventions of variants against the network: what is not there cannot be closed."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import PlannedIntervention
from milepost.study.v1.study_pb2 import StudySpec
from runtime.blobs import Blobs
from runtime.errors import FieldViolation
from scenario.network_ids import NetworkIds, read_network_ids
from session_api.application.variant_scenarios import VariantScenario


@dataclass(frozen=True, slots=True)
class CheckInterventions:
    """Looks at what stands in the networks; vehicles that may be there at that time are SUMO's to know."""

    blobs: Blobs

    async def __call__(
        self,
        spec: StudySpec,
        scenarios: Sequence[VariantScenario],
        scenes: Sequence[Scene],
        *,
        earliest_s: float | None,
    ) -> list[FieldViolation]:
        """What is wrong with the interventions of variants, and of all sessions, each by its field."""
        own = [
            (f"spec.variants[{index}].patch.interventions[{number}]", index, one)
            for index, variant in enumerate(spec.variants)
            for number, one in enumerate(variant.patch.interventions)
        ]
        own += [
            (f"spec.session.interventions[{number}]", 0, one) for number, one in enumerate(spec.session.interventions)
        ]
        networks: dict[str, NetworkIds] = {}
        violations: list[FieldViolation] = []
        for path, index, one in own:
            scene, sha256 = scenes[index], scenarios[index].net_sha256
            violations += _time(path, one, scene, earliest_s)
            if sha256 not in networks:
                networks[sha256] = await self._read(sha256, scene.net_file)
            violations += [
                FieldViolation(f"{path}.intervention.{where}", f"{what} is not in the network")
                for where, what in _unknown(one.intervention, networks[sha256])
            ]
        return violations

    async def _read(self, sha256: str, name: str) -> NetworkIds:
        with tempfile.TemporaryDirectory(prefix="milepost-net-") as directory:
            path = Path(directory) / "net"
            await self.blobs.get_file(sha256, path)
            return await asyncio.to_thread(read_network_ids, path, name)


def _time(path: str, one: PlannedIntervention, scene: Scene, earliest_s: float | None) -> Iterator[FieldViolation]:
    if scene.HasField("end_time_s") and one.at_time_s >= scene.end_time_s:
        yield FieldViolation(f"{path}.at_time_s", f"must be before the end, {scene.end_time_s:g} s")
    if earliest_s is not None and one.at_time_s < earliest_s:
        yield FieldViolation(f"{path}.at_time_s", f"must be at {earliest_s:g} s, where the study begins, or later")


def _unknown(change: Intervention, network: NetworkIds) -> Iterator[tuple[str, str]]:
    """(field, what) of every name that is not in the network."""
    which = change.WhichOneof("change") or ""
    body = getattr(change, which)
    match which:
        case "close" | "open" | "set_speed_limit":
            for number, edge in enumerate(body.place.edge_ids):
                if edge not in network.edges:
                    yield f"{which}.place.edge_ids[{number}]", f"edge {edge!r}"
            for number, lane in enumerate(body.place.lane_ids):
                if lane not in network.lanes:
                    yield f"{which}.place.lane_ids[{number}]", f"lane {lane!r}"
        case "set_signal" | "add_signal_program":
            if body.signal_id not in network.signals:
                yield f"{which}.signal_id", f"signal {body.signal_id!r}"
        case "add_vehicle" | "add_person":
            edges = "route_edges" if which == "add_vehicle" else "walk_edges"
            for number, edge in enumerate(getattr(body, edges)):
                if edge not in network.edges:
                    yield f"{which}.{edges}[{number}]", f"edge {edge!r}"
        case "reroute":
            if body.target_edge_id and body.target_edge_id not in network.edges:
                yield f"{which}.target_edge_id", f"edge {body.target_edge_id!r}"
