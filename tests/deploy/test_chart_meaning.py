"""What the chart says is true of the services: their settings, times, ports and flows; and it is safe."""

from typing import Any

import pytest

from deploy.chart import EVERYTHING, Manifest, merged, of_kind, pods, render
from event_store.main import SERVICES as STORE_SERVICES
from event_store.settings import EventStoreSettings
from runtime.settings import ServiceSettings
from session_api.main import SERVICES as API_SERVICES
from session_api.settings import SessionApiSettings
from sim_worker.main import HAND_OVER_S
from sim_worker.settings import SimWorkerSettings

pytestmark = pytest.mark.slow

SETTINGS: dict[str, type[ServiceSettings]] = {
    "session-api": SessionApiSettings,
    "event-store": EventStoreSettings,
    "sim-worker": SimWorkerSettings,
}
# gRPC health knows the services of a server, and the server as a whole by no name.
HEALTH = {"session-api": {*API_SERVICES, ""}, "event-store": {*STORE_SERVICES, ""}, "sim-worker": {""}}
PRE_STOP_S = 5.0
JOBS = {"worker": {"kind": "ScaledJob"}}
ALL_FORMS = [{}, EVERYTHING, JOBS, merged(EVERYTHING, JOBS)]
PLAIN_FORMS = [{}, JOBS, {"telemetry": {"otlpEndpoint": "http://collector:4317"}}]
# Who calls whom (docs/architecture.md): component, and whom it reaches at which port.
FLOWS = {
    "session-api": {("broker", 4222), ("database", 5432), ("event-store", "grpc")},
    "event-store": {("broker", 4222), ("database", 5432), ("blobs", 443)},
    "worker": {("broker", 4222), ("event-store", "grpc")},
    "migrations": {("database", 5432)},
}


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def services(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The containers of services by their name; migrations left out."""
    found = {name: pod for name, pod in pods(manifests).items() if name != "migrations"}
    return {pod["spec"]["containers"][0]["name"]: pod for pod in found.values()}


@pytest.mark.parametrize("values", ALL_FORMS)
def test_pods_keep_to_the_restricted_profile(values: dict[str, Any]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, field by field."""
    for name, pod in pods(render(values)).items():
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & spec.keys(), name
        assert {key for volume in spec["volumes"] for key in volume} <= {
            *("name", "emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim", "downwardAPI")
        }
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert "sysctls" not in spec["securityContext"]
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["privileged"] is False
            assert not any("hostPort" in port for port in container.get("ports", []))


@pytest.mark.parametrize("values", ALL_FORMS)
def test_pods_are_safer_than_the_profile_asks(values: dict[str, Any]) -> None:
    for name, pod in pods(render(values)).items():
        spec = pod["spec"]
        assert spec["enableServiceLinks"] is False
        # A worker that prices itself needs the API server; nobody else does.
        assert spec["automountServiceAccountToken"] is (
            name == "worker" and values != JOBS and "kind" not in str(values)
        )
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert not container["image"].endswith(":latest")
            for variable in container["env"]:
                word = variable["name"]
                if word.endswith(("_KEY", "_DATABASE_URL")) and word != "MILEPOST_TLS_KEY":
                    assert "secretKeyRef" in variable["valueFrom"], word


def test_roles_allow_one_verb_on_one_thing() -> None:
    manifests = render(EVERYTHING)
    assert not of_kind(manifests, "ClusterRole")
    (role,) = of_kind(manifests, "Role").values()
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    assert not of_kind(render(JOBS), "Role"), "a job is not scaled in"


@pytest.mark.parametrize("values", ALL_FORMS)
def test_every_variable_is_a_setting_of_its_service(values: dict[str, Any]) -> None:
    for name, pod in services(render(values)).items():
        known = {f"MILEPOST_{field.upper()}" for field in SETTINGS[name].model_fields}
        for variable in pod["spec"]["containers"][0]["env"]:
            assert variable["name"] in known or variable["name"].startswith("OTEL_"), (name, variable["name"])


@pytest.mark.parametrize("values", PLAIN_FORMS)
def test_values_of_settings_are_taken_by_the_services(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, pod in services(render(values)).items():
        with monkeypatch.context() as environment:
            for variable in pod["spec"]["containers"][0]["env"]:
                environment.setenv(variable["name"], variable.get("value", f"{variable['name']:x<32}"))
            settings = SETTINGS[name]()
        assert settings.listen == "0.0.0.0:7400"
        assert settings.metrics_listen == "0.0.0.0:9400"
        if isinstance(settings, SimWorkerSettings):
            assert (settings.slots, settings.pool) == (2, "sumo-1_28_0")
            assert bool(settings.idle_exit_s) is (values == JOBS), "a job ends by itself"


def test_workers_and_api_agree_on_pool_and_lease() -> None:
    by_service = {
        name: {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0]["env"]}
        for name, pod in services(render({"leaseSeconds": 20, "worker": {"pool": "other"}})).items()
    }
    for variable in ("MILEPOST_POOL", "MILEPOST_LEASE_S"):
        assert by_service["session-api"][variable] == by_service["sim-worker"][variable] in ("other", "20")


@pytest.mark.parametrize("values", ALL_FORMS)
def test_a_pod_is_given_the_time_its_service_takes_to_stop(values: dict[str, Any]) -> None:
    drain_s = ServiceSettings.model_fields["drain_s"].default
    for name, pod in services(render(values)).items():
        takes_s = drain_s + (HAND_OVER_S if name == "sim-worker" else PRE_STOP_S)
        assert pod["spec"]["terminationGracePeriodSeconds"] > takes_s, name
        if name != "sim-worker":
            sleep = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            assert sleep == ["sleep", str(int(PRE_STOP_S))]


@pytest.mark.parametrize("values", PLAIN_FORMS)
def test_probes_ask_for_services_that_are_served_at_the_port_they_are_served_at(values: dict[str, Any]) -> None:
    for name, pod in services(render(values)).items():
        (container,) = pod["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == {"grpc": 7400, "metrics": 9400}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["grpc"]["port"] == ports["grpc"]
            assert container[probe]["grpc"].get("service", "") in HEALTH[name], (name, probe)
    api = services(render(values))["session-api"]["spec"]["containers"][0]
    assert api["readinessProbe"]["grpc"]["service"] == "milepost.session.v1.SessionService"


def test_a_probe_that_cannot_speak_tls_asks_for_the_port() -> None:
    for pod in services(render(EVERYTHING)).values():
        (container,) = pod["spec"]["containers"]
        assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}


@pytest.mark.parametrize("values", [{}, merged(EVERYTHING, {"telemetry": {"otlpEndpoint": ""}}), JOBS])
def test_network_policies_allow_the_flows_there_are_and_no_others(values: dict[str, Any]) -> None:
    # Peers that can be told apart.
    def peer(name: str) -> list[Manifest]:
        return [{"namespaceSelector": {"matchLabels": {"is": name}}}]

    told = {name: {"to": peer(name)} for name in ("broker", "database", "blobs", "jwks", "kubernetes")}
    asked = {name: peer(name) for name in ("clients", "monitoring", "keda", "dns")}
    policies = of_kind(render(merged(values, {"networkPolicy": {**told, **asked}})), "NetworkPolicy")
    deny = policies.pop("default-deny")["spec"]
    assert deny["podSelector"]["matchLabels"].keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    assert (deny["ingress"], deny["policyTypes"]) == ([], ["Ingress", "Egress"])
    assert _reached(deny["egress"]) == {("dns", 53)}
    for component, policy in policies.items():
        expected = set(FLOWS[component])
        if values.get("auth", {}).get("jwks") and component != "migrations":
            expected.add(("jwks", 443))
        if component == "worker" and values.get("worker", {}).get("kind") != "ScaledJob":
            expected |= {("kubernetes", 443), ("kubernetes", 6443)}
        assert _reached(policy["spec"]["egress"]) == expected, component
    entered = {name: _reached(policy["spec"].get("ingress", []), "from") for name, policy in policies.items()}
    assert entered == {
        "session-api": {("clients", "grpc"), ("keda", "grpc"), ("monitoring", "metrics")},
        "event-store": {
            *(("clients", "grpc"), ("session-api", "grpc"), ("worker", "grpc"), ("monitoring", "metrics")),
        },
        "worker": {("monitoring", "metrics")},
        "migrations": set(),
    }
    assert policies.keys() == FLOWS.keys()


def test_a_policy_selects_the_pods_it_is_for_and_a_service_leads_to_them() -> None:
    manifests = render(EVERYTHING)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests).items()}
    for kind in ("NetworkPolicy", "PodDisruptionBudget", "Service"):
        for name, manifest in of_kind(manifests, kind).items():
            spec = manifest["spec"]
            selector = (spec.get("podSelector") or spec.get("selector") or {}).copy()
            selector = selector.get("matchLabels", selector)
            chosen = {pod for pod, has in labels.items() if selector.items() <= has.items()}
            assert chosen == (labels.keys() if name == "default-deny" else {name}), (kind, name)
    for name in ("session-api", "event-store"):
        (port,) = of_kind(manifests, "Service")[name]["spec"]["ports"]
        assert port["targetPort"] == "grpc"
    store = of_kind(manifests, "Service")["event-store"]["spec"]["ports"][0]["port"]
    for name in ("session-api", "sim-worker"):
        env = services(manifests)[name]["spec"]["containers"][0]["env"]
        assert {"name": "MILEPOST_EVENT_STORE", "value": f"city-event-store:{store}"} in env


def test_what_may_be_disrupted_leaves_somebody_to_serve() -> None:
    budgets = of_kind(render(), "PodDisruptionBudget")
    assert {name: budget["spec"]["maxUnavailable"] for name, budget in budgets.items()} == {
        "session-api": 1,
        "event-store": 1,
        "worker": "50%",
    }
    alone = of_kind(render({"sessionApi": {"replicas": 1}, "eventStore": {"replicas": 1}}), "PodDisruptionBudget")
    assert alone.keys() == {"worker"}, "a budget for one replica would stop every drain of a node"
    for name, deployment in of_kind(render(), "Deployment").items():
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, name
        spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_migrations_come_before_what_needs_them() -> None:
    job = of_kind(render(), "Job")["migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    modules = {container["name"]: container["command"][-1] for container in containers(job["spec"]["template"])}
    assert modules == {"session-api": "session_api.migrate", "event-store": "event_store.migrate"}


def test_autoscaled_workers_are_counted_by_the_autoscaler_alone() -> None:
    scaled = render({"worker": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in of_kind(scaled, "Deployment")["worker"]["spec"]
    target = of_kind(scaled, "ScaledObject")["worker"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "city-worker"}
    assert of_kind(render(), "Deployment")["worker"]["spec"]["replicas"] == 2


def _reached(rules: list[Manifest], side: str = "to") -> set[tuple[str, Any]]:
    """Who is at the other side of rules: a component, or the mark of a peer; and the port."""
    found = set()
    for rule in rules:
        for peer in rule[side]:
            selector = next(iter(peer.values()))["matchLabels"]
            who = selector.get("is") or selector["app.kubernetes.io/component"]
            found |= {(who, port["port"]) for port in rule["ports"]}
    return found
