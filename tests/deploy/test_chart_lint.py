"""A security lint of chart and Dockerfile by somebody else's rules: no finding that is not explained here.

checkov is taken from the path, or from where `make chart-tools` puts it; the tests skip in words where there is none.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.chart import CACHE, EVERYTHING, ROOT, render

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SERVICES = ("session-api", "event-store", "worker")
PODS = {f"Deployment.default.city-{name}" for name in SERVICES} | {"Job.default.city-migrations"}
# Finding: what of ours it may be about (None: all), because …
EXPLAINED = {
    # … `helm install --namespace` says where; a manifest that says it, too, cannot be moved.
    "CKV_K8S_21": None,
    # … a service that is throttled misses leases; requests share the processor fairly, and memory is limited.
    "CKV_K8S_11": PODS,
    # … which registry, hence which digest, its user knows: `image.tag` takes `0.1.0@sha256:…`.
    "CKV_K8S_43": PODS,
    # … a tag is a release and is not moved.
    "CKV_K8S_15": PODS,
    # … settings are environment variables in all of our processes; nothing but the process reads them in a container
    # without a shell user, and children that see scenarios begin with an environment of their own.
    "CKV_K8S_35": PODS,
    # … a worker writes its own deletion cost, and may do nothing else.
    "CKV_K8S_38": {"Deployment.default.city-worker"},
    # … the base is the user's to choose; the default names a release of Debian.
    "CKV_DOCKER_7": None,
}


def findings(path: Path, framework: str) -> dict[str, set[str]]:
    """What checkov finds wrong, by rule: of which resources."""
    checkov = os.environ.get("MILEPOST_CHECKOV") or shutil.which(
        "checkov", path=f"{os.environ['PATH']}:{CACHE.parent / 'checkov' / 'bin'}"
    )
    if checkov is None:
        pytest.skip("no checkov: `make chart-tools` installs it")
    command = [checkov, "--framework", framework, "--quiet", "--compact", "--skip-download", "--output", "json"]
    kind = "--directory" if path.is_dir() else "--file"
    done = subprocess.run([*command, kind, str(path)], capture_output=True, text=True, timeout=250, check=False)
    answer = json.loads(done.stdout)
    assert answer["summary"]["passed"] > 50, "it looked at something"
    found: dict[str, set[str]] = {}
    for check in answer["results"]["failed_checks"]:
        found.setdefault(check["check_id"], set()).add(check["resource"])
    return found


def assert_explained(found: dict[str, set[str]]) -> None:
    for rule, resources in found.items():
        assert rule in EXPLAINED, f"{rule}: {resources}"
        allowed = EXPLAINED[rule]
        assert allowed is None or resources <= allowed, f"{rule}: {resources - allowed}"


def test_no_finding_about_the_chart_is_unexplained(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(render(EVERYTHING)))
    assert_explained(findings(tmp_path, "kubernetes"))


def test_no_finding_about_the_dockerfile_is_unexplained() -> None:
    assert_explained(findings(ROOT / "deploy" / "Dockerfile", "dockerfile"))
