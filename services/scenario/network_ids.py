"""The names that a network gives: what an intervention may speak of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scenario.xml_stream import XmlReader, read_xml


@dataclass(frozen=True, slots=True)
class NetworkIds:
    """Ids of one network."""

    edges: set[str] = field(default_factory=set)
    lanes: set[str] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)


def read_network_ids(path: Path, name: str) -> NetworkIds:
    """The ids in a network file, called `name` in findings. Raises ScenarioRejected for one that cannot be read."""
    found = NetworkIds()

    def on_start(tag: str, attributes: Mapping[str, str], _reader: XmlReader) -> None:
        match tag:
            case "edge":
                found.edges.add(attributes.get("id", ""))
            case "lane":
                found.lanes.add(attributes.get("id", ""))
            case "tlLogic":
                found.signals.add(attributes.get("id", ""))

    read_xml(path, name, on_start)
    return found
