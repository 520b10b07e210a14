"""The Helm chart, rendered by helm as users render it, for tests to look at.

helm is taken from the path, or from where `make chart-tools` builds it; tests skip in words where there is none.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "chart"
EXAMPLES = ROOT / "deploy" / "examples"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "milepost" / "bin"
# What the chart refuses to do without.
GIVEN: dict[str, Any] = {
    "broker": {"url": "nats://nats.broker:4222"},
    "database": {"sessionApi": {"name": "database"}, "eventStore": {"name": "database"}},
    "blobs": {"url": "s3://milepost", "environmentSecret": "object-store"},
    "auth": {"sharedKey": {"name": "users"}, "serviceKey": {"name": "services"}},
}
# Each part of it that can be on or off, on.
EVERYTHING: dict[str, Any] = {
    "auth": {"jwks": "https://login.example/jwks", "issuer": "login", "audience": "milepost"},
    "tls": {"secret": "tls", "mutual": True},
    "telemetry": {"otlpEndpoint": "http://collector:4317", "podMonitor": {"enabled": True}},
    "worker": {"autoscaling": {"enabled": True}},
}
RELEASE, NAMESPACE = "city", "traffic"
NEWEST = "1.34.0"

Manifest = dict[str, Any]


@functools.cache
def helm() -> str:
    """The program. Skips where there is none."""
    found = os.environ.get("MILEPOST_HELM") or shutil.which("helm", path=f"{os.environ['PATH']}:{CACHE}")
    if found is None:
        pytest.skip("no helm: `make chart-tools` builds it with Go")
    return found


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Values as helm merges those of several files: the later win, maps are gone into."""
    result: dict[str, Any] = {}
    for one in values:
        for key, value in one.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def run_helm(*arguments: str, values: dict[str, Any]) -> subprocess.CompletedProcess:
    """Run helm with values on standard input; its outcome, whichever it is."""
    command = [helm(), *arguments, "--values", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False)


def render(*values: dict[str, Any], kubernetes: str = NEWEST) -> list[Manifest]:
    """All manifests for the given values beside the required ones. Fails with what helm says."""
    return _rendered(json.dumps(merged(GIVEN, *values), sort_keys=True), kubernetes)


@functools.cache
def _rendered(values: str, kubernetes: str) -> list[Manifest]:
    options = ["--namespace", NAMESPACE, "--kube-version", kubernetes]
    done = run_helm("template", RELEASE, str(CHART), *options, values=json.loads(values))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]


def refused(*values: dict[str, Any]) -> str:
    """What helm says to values that it must not take."""
    done = run_helm("template", RELEASE, str(CHART), "--kube-version", NEWEST, values=merged(GIVEN, *values))
    assert done.returncode != 0, "taken"
    return done.stderr


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Manifests of a kind by the component in their name."""
    named = [manifest for manifest in manifests if manifest["kind"] == kind]
    return {manifest["metadata"]["name"].removeprefix(f"{RELEASE}-"): manifest for manifest in named}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates of everything that makes pods, by component."""
    found = {}
    for manifest in manifests:
        name = manifest["metadata"]["name"].removeprefix(f"{RELEASE}-")
        match manifest["kind"]:
            case "Deployment" | "Job":
                found[name] = manifest["spec"]["template"]
            case "ScaledJob":
                found[name] = manifest["spec"]["jobTargetRef"]["template"]
            case _:
                continue
    return found
