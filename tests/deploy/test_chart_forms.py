"""The chart renders for every choice of values, into what Kubernetes and KEDA accept; nonsense is refused."""

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.chart import CHART, EVERYTHING, EXAMPLES, GIVEN, Manifest, merged, of_kind, refused, render, run_helm
from session_api.domain.scaling import scaled_pool

pytestmark = pytest.mark.slow

KEDA = "github.com/kedacore/keda/v2@v2.21.0"
# The oldest that the chart says it is for, and the newest whose schema there is.
KUBERNETES = ("1.27.0", "1.30.0", "1.34.0")
# Not Kubernetes' own.
FOREIGN = {"ScaledObject", "ScaledJob", "TriggerAuthentication", "PodMonitor"}

CHOICES: dict[str, dict[str, Any]] = {
    "nothing but what must be given": {},
    "everything": EVERYTHING,
    "jobs instead of a deployment": {"worker": {"kind": "ScaledJob"}},
    "jobs, everything": merged(EVERYTHING, {"worker": {"kind": "ScaledJob"}}),
    "polled": {"worker": {"autoscaling": {"enabled": True, "trigger": "external", "minReplicas": 1}}},
    "one replica of each": {"sessionApi": {"replicas": 1}, "eventStore": {"replicas": 1}, "worker": {"replicas": 1}},
    "no policies, budgets, migrations": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "migrations": {"enabled": False},
    },
    "nobody may call": {"networkPolicy": {"clients": [], "keda": [], "monitoring": []}},
    "blobs on a claim": {"blobs": {"url": "file:///var/lib/milepost/blobs", "persistentVolumeClaim": "blobs"}},
    "no authentication": {"auth": {"insecure": True, "sharedKey": {"name": ""}, "serviceKey": {"name": ""}}},
    "the broker's address is secret": {"broker": {"url": "", "secret": {"name": "broker", "key": "address"}}},
    "placed": {
        "image": {"repository": "registry.example/city", "tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
        "worker": {
            "nodeSelector": {"kind": "fast"},
            "tolerations": [{"key": "fast", "operator": "Exists"}],
            "podAnnotations": {"a": "b"},
            "priorityClassName": "low",
            "environment": {"MILEPOST_MEMORY_LIMIT_MIB": "2048"},
            "deletionCost": False,
        },
        "sessionApi": {"service": {"type": "LoadBalancer", "annotations": {"a": "b"}}},
    },
}


@pytest.mark.parametrize("values", CHOICES.values(), ids=CHOICES.keys())
def test_what_is_rendered_is_what_kubernetes_knows(values: dict[str, Any]) -> None:
    manifests = render(values)
    assert {"session-api", "event-store"} <= of_kind(manifests, "Deployment").keys()
    for manifest in manifests:
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_version_of_kubernetes_takes_it(kubernetes: str) -> None:
    for manifest in render(EVERYTHING, kubernetes=kubernetes):
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, kubernetes, strict=True)


def test_names_do_not_meet() -> None:
    manifests = render(EVERYTHING)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("values-*.yaml")))
def test_an_example_passes_the_strict_lint(example: str) -> None:
    values = yaml.safe_load((EXAMPLES / example).read_text())
    done = run_helm("lint", str(CHART), "--strict", "--quiet", values=merged(GIVEN, values))
    assert done.returncode == 0, done.stdout + done.stderr
    assert render(values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"worker": {"replica": 3}}, "replica"),
        ({"broker": {"url": "http://nats"}}, "/broker/url"),
        ({"broker": {"url": ""}}, "/broker"),
        ({"database": {"eventStore": {"name": ""}}}, "/database/eventStore"),
        ({"auth": {"sharedKey": {"name": ""}}}, "/auth"),
        ({"auth": {"serviceKey": {"name": ""}}}, "/auth"),
        ({"blobs": {"url": "file:///var/lib/milepost/blobs"}}, "/blobs"),
        ({"tls": {"mutual": True}}, "/tls"),
        ({"worker": {"slots": 0}}, "/worker/slots"),
        ({"worker": {"kind": "StatefulSet"}}, "/worker/kind"),
        ({"worker": {"environment": {"PATH": "/"}}}, "PATH"),
        ({"networkPolicy": {"clients": [{}]}}, "/networkPolicy/clients/0"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_name(values: dict[str, Any], named: str) -> None:
    assert named in refused(values)


def test_every_value_there_is_is_described_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    open_ones = [path for path, part in _objects(schema) if "properties" in part and "additionalProperties" not in part]
    assert [path for path in open_ones if not any(word in path for word in ("anyOf", "allOf", "then", "if"))] == []
    described = schema["properties"].keys() - {"global"}
    assert described == yaml.safe_load((CHART / "values.yaml").read_text()).keys()


@functools.cache
def crd(kind: str) -> dict[str, Any]:
    """The schema of KEDA's own definition of a kind, closed: a field it does not name is an error."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go, which has KEDA's definitions in a module")
    done = subprocess.run([go, "mod", "download", "-json", KEDA], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"KEDA's module cannot be had: {done.stderr or done.stdout}")
    file = Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases" / f"keda.sh_{kind.lower()}s.yaml"
    definition = yaml.load(file.read_text(), yaml.CSafeLoader)
    version = next(version for version in definition["spec"]["versions"] if version["name"] == "v1alpha1")
    return _closed(version["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("ScaledObject", EVERYTHING),
        ("ScaledObject", CHOICES["polled"]),
        ("ScaledJob", CHOICES["jobs, everything"]),
        ("ScaledJob", CHOICES["jobs instead of a deployment"]),
    ],
)
def test_keda_knows_every_field_and_the_scaler_every_key(kind: str, values: dict[str, Any]) -> None:
    scaled = of_kind(render(values), kind)["worker"]
    jsonschema.validate(scaled, crd(kind))
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] in (("external",) if kind == "ScaledJob" else ("external", "external-push"))
    pool = scaled_pool(trigger["metadata"], default_pool="")
    assert (pool.pool, pool.slots_per_worker) == ("sumo-1_28_0", 2.0)
    assert trigger["metadata"]["scalerAddress"] == "city-session-api.traffic.svc:7400"


@pytest.mark.parametrize("worker", [{}, {"kind": "ScaledJob"}])
def test_keda_has_a_certificate_where_one_is_asked_for(worker: dict[str, Any]) -> None:
    manifests = render(EVERYTHING, {"worker": worker})
    (scaled,) = of_kind(manifests, worker.get("kind", "ScaledObject")).values()
    (trigger,) = scaled["spec"]["triggers"]
    named = of_kind(manifests, "TriggerAuthentication")[trigger["authenticationRef"]["name"].removeprefix("city-")]
    jsonschema.validate(named, crd("TriggerAuthentication"))
    parameters = {each["parameter"]: each["key"] for each in named["spec"]["secretTargetRef"]}
    assert parameters == {"caCert": "ca.crt", "tlsClientCert": "tls.crt", "tlsClientKey": "tls.key"}
    assert trigger["metadata"]["enableTLS"] == "true"
    assert not of_kind(render({"worker": worker}), "TriggerAuthentication")


def _closed(schema: Any) -> Any:
    """A definition as the API server takes it when it is asked to be strict."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    takes_all = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    # Of metadata a definition says nothing.
    if schema.get("type") == "object" and schema.get("properties") and not takes_all:
        closed["additionalProperties"] = False
    return closed


def _objects(schema: Any, path: str = "") -> list[tuple[str, Manifest]]:
    """Every part of a schema that is an object, with where it stands."""
    if isinstance(schema, list):
        return [item for index, part in enumerate(schema) for item in _objects(part, f"{path}/{index}")]
    if not isinstance(schema, dict):
        return []
    inside = [item for key, part in schema.items() for item in _objects(part, f"{path}/{key}")]
    return [(path, schema), *inside] if schema.get("type") == "object" else inside
