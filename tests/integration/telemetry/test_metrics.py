"""What dashboards and alerts ask for is really exported, and what is exported is documented."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from stack import running_stack

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "milepost.json"
RULES = ROOT / "deploy" / "alerts" / "milepost.rules.yaml"
DOCUMENT = ROOT / "docs" / "telemetry.md"
NAME = re.compile(r"\bmilepost_[a-z0-9_]+")
# What a name ends with says the unit; what counts things is named by them, in the plural.
UNITS = ("_total", "_seconds", "_bytes", "_bytes_per_event", "_messages", "_position")
THINGS = (
    "sessions",
    "slots",
    "workers",
    "watchers",
    "logs",
    "blobs",
    "copies",
    "streams",
    "calls",
    "studies",
    "results",
)
YES_OR_NO = ("connected", "ingesting", "open")
# Labels whose values have no bound.
UNBOUNDED = {"session", "session_id", "tenant", "user"}


def asked_for() -> dict[str, str]:
    """Expression by where it stands."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = {f"panel {panel['title']}": target["expr"] for panel in panels for target in panel.get("targets", ())}
    for rule in rules():
        found[rule["alert"]] = rule["expr"]
    return found


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def families(text: str) -> set[str]:
    """Our metrics of an endpoint, also those without a sample yet; counters by the name of their samples."""
    types = re.findall(r"^# TYPE (milepost_\w+) \w+$", text, re.MULTILINE)
    return {name for name in types if not name.endswith("_created")}


def family(name: str) -> str:
    """The metric a sample belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


async def scraped(addresses: Iterable[str]) -> list[str]:
    def read(address: str) -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return answer.read().decode()

    return [await asyncio.to_thread(read, address) for address in addresses]


async def test_everything_that_is_asked_for_is_exported_by_a_stack_and_everything_exported_is_explained(tmp_path):
    async with running_stack(tmp_path / "stack", gateway=True) as stack:
        session = await stack.client.sessions.create_demo(seed=1, end_time_s=25_500)
        await stack.client.sessions.wait(session.session_id)
        pages = await scraped(stack.ready["metrics"].values())
        exported = set().union(*map(families, pages))
        for place, expression in asked_for().items():
            missing = {family(name) for name in NAME.findall(expression)} - exported
            assert not missing, f"{place} asks for what nobody exports"
        explained = {family(name) for name in NAME.findall(DOCUMENT.read_text())}
        assert exported - explained == set(), "exported, and not in docs/telemetry.md"
        assert explained - exported == set(), "in docs/telemetry.md, and not exported"
        text = "\n".join(pages)
        labels = set(re.findall(r'[{,](\w+)="', "\n".join(line for line in text.splitlines() if "milepost_" in line)))
        assert not labels & UNBOUNDED
        for name in exported:
            assert name.endswith(UNITS) or name.rpartition("_")[2] in (*THINGS, *YES_OR_NO), f"{name} has no unit"
        moved = ("simulated_steps_total", "ingested_events_total", "projection_events_total", "claims_total")
        for name in moved:
            assert re.search(rf"^milepost_{name}(\{{.*\}})? [1-9]", text, re.MULTILINE), f"{name} did not move"
        code = r'milepost_rpc_calls_total\{code="OK",method="session.v1.SessionService/CreateDemoSession"\} 1'
        assert re.search(code, text)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_where_what_to_do_stands(rule):
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^### (\w+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert rule["alert"] in headings
    assert anchor == rule["alert"].lower()
