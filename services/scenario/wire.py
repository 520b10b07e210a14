"""The model as milepost.scenario.v1 messages, and back."""

from __future__ import annotations

from collections.abc import Iterable

from milepost.scenario.v1 import scenario_pb2, scenario_service_pb2
from milepost.session.v1.session_pb2 import SessionSpec
from scenario.edge_data import EdgeData
from scenario.model import Finding, Manifest, ScenarioFile, Scene, SumoOption


def file_to_proto(file: ScenarioFile) -> scenario_pb2.ScenarioFile:
    """One file."""
    return scenario_pb2.ScenarioFile(path=file.path, sha256=file.sha256, size_bytes=file.size_bytes)


def file_from_proto(message: scenario_pb2.ScenarioFile) -> ScenarioFile:
    """One file; the fields are taken as they are, `bundle.check_path` judges the path."""
    return ScenarioFile(message.path, message.sha256, message.size_bytes)


def manifest_from_proto(config_path: str, message: scenario_service_pb2.Manifest) -> Manifest:
    """The manifest of an upload."""
    return Manifest(config_path, tuple(file_from_proto(file) for file in message.files))


def options_from_proto(messages: Iterable[scenario_pb2.SumoOption]) -> tuple[SumoOption, ...]:
    """Options in the order given."""
    return tuple(SumoOption(option.name, option.value) for option in messages)


def scene_to_proto(scene: Scene) -> scenario_pb2.Scene:
    """A scene."""
    return scenario_pb2.Scene(
        scenario_digest=scene.scenario_digest,
        net_file=scene.net_file,
        route_files=scene.route_files,
        additional_files=scene.additional_files,
        begin_time_s=scene.begin_time_s,
        end_time_s=scene.end_time_s,
        step_length_s=scene.step_length_s,
        options=[scenario_pb2.SumoOption(name=option.name, value=option.value) for option in scene.options],
    )


def scene_from_proto(message: scenario_pb2.Scene) -> Scene:
    """A scene."""
    return Scene(
        scenario_digest=message.scenario_digest,
        net_file=message.net_file,
        route_files=tuple(message.route_files),
        additional_files=tuple(message.additional_files),
        begin_time_s=message.begin_time_s,
        end_time_s=message.end_time_s if message.HasField("end_time_s") else None,
        step_length_s=message.step_length_s,
        options=options_from_proto(message.options),
    )


def edge_data_from_proto(spec: SessionSpec) -> EdgeData | None:
    """The edge data a session asks for; None: it does not."""
    if not spec.HasField("edge_data"):
        return None
    asked = spec.edge_data
    return EdgeData(asked.interval_s, asked.begin_time_s if asked.HasField("begin_time_s") else None)


def finding_to_proto(finding: Finding) -> scenario_pb2.Finding:
    """One finding."""
    return scenario_pb2.Finding(rule=finding.rule, message=finding.message, file=finding.file, line=finding.line)


def finding_from_proto(message: scenario_pb2.Finding) -> Finding:
    """One finding."""
    return Finding(message.rule, message.message, message.file, message.line)
