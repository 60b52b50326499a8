"""The shipped collector, Prometheus and Kubernetes files: accepted by the programs that read them, and shaped
as they must be."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from tests.e2e.backends import CONFIG, ROOT, program

COLLECTOR_FILES = ("agent", "collector", "gateway")
PUSHING = ("otlp_grpc", "otlp_http", "load_balancing")


def shipped(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CONFIG / f"{name}.yaml").read_text()))


def exporters(name: str) -> dict[str, dict[str, Any]]:
    return dict(shipped(name)["exporters"])


def test_every_collector_file_is_known_to_these_tests() -> None:
    collector_files = {
        path.stem for path in CONFIG.glob("*.yaml") if "receivers" in yaml.safe_load(path.read_text())
    }
    assert set(COLLECTOR_FILES) == collector_files


@pytest.mark.backends
@pytest.mark.parametrize("name", COLLECTOR_FILES)
def test_the_collector_accepts_its_file(name: str, tmp_path: Any) -> None:
    result = subprocess.run(
        [program("collector"), "validate", "--config", str(CONFIG / f"{name}.yaml")],
        env={"STORAGE_DIRECTORY": str(tmp_path / "queue")}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (0, "") == (result.returncode, result.stderr)


@pytest.mark.backends
def test_the_collector_refuses_a_file_with_a_typo(tmp_path: Any) -> None:
    """So that the acceptance above means something."""
    broken = tmp_path / "broken.yaml"
    broken.write_text((CONFIG / "collector.yaml").read_text().replace("limit_percentage", "limit_percent"))
    result = subprocess.run(
        [program("collector"), "validate", "--config", str(broken)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode != 0
    assert "limit_percent" in result.stderr


@pytest.mark.backends
@pytest.mark.parametrize(
    ("kind", "file"),
    [("config", "prometheus.yml"), ("rules", "collector-alerts.yml"), ("rules", "bext-alerts.yml")],
)
def test_promtool_accepts_the_prometheus_files(kind: str, file: str) -> None:
    result = subprocess.run(
        [program("promtool"), "check", kind, str(CONFIG / file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", COLLECTOR_FILES)
def test_batches_are_made_in_the_sending_queue(name: str) -> None:
    """The batch processor is being removed, and loses what it holds when the collector dies; a queue's batch
    does not."""
    assert not [
        processor
        for processor in shipped(name).get("processors", {})
        if processor.partition("/")[0] == "batch"
    ]
    pushing = {key: value for key, value in exporters(name).items() if key.partition("/")[0] in PUSHING}
    assert pushing
    assert [] == [key for key, value in pushing.items() if "batch" not in value["sending_queue"]]


@pytest.mark.parametrize("name", ["agent", "gateway"])
def test_queues_survive_a_restart_where_traffic_is_real(name: str) -> None:
    pushing = {key: value for key, value in exporters(name).items() if key.partition("/")[0] in PUSHING}
    assert dict.fromkeys(pushing, "file_storage") == {
        key: value["sending_queue"]["storage"] for key, value in pushing.items()
    }


@pytest.mark.parametrize("name", COLLECTOR_FILES)
def test_the_memory_limiter_comes_first_everywhere(name: str) -> None:
    first = {
        key: pipeline["processors"][0] for key, pipeline in shipped(name)["service"]["pipelines"].items()
    }
    assert {"memory_limiter"} == set(first.values()), first


@pytest.mark.parametrize("name", COLLECTOR_FILES)
def test_prometheus_names_get_no_suffix(name: str) -> None:
    """Exported names already hold their unit. The strategy is what newer collectors obey, the boolean what
    older ones do."""
    exporter = exporters(name)["prometheus"]
    assert exporter["add_metric_suffixes"] is False
    assert "UnderscoreEscapingWithoutSuffixes" == exporter["translation_strategy"]
    assert "enable_open_metrics" not in exporter


@pytest.mark.parametrize("name", COLLECTOR_FILES)
def test_everything_listens_on_loopback_unless_told_otherwise(name: str) -> None:
    config = shipped(name)
    protocols = config["receivers"]["otlp"]["protocols"].values()
    prometheus = config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    listening = [protocol["endpoint"] for protocol in protocols]
    listening += [
        config["exporters"]["prometheus"]["endpoint"],
        config["extensions"]["health_check"]["endpoint"],
        prometheus["host"],
    ]
    assert [] == [endpoint for endpoint in listening if ":-127.0.0.1" not in endpoint]


def test_secrets_are_masked_alike_wherever_telemetry_enters() -> None:
    """The gateway gets only what an agent has already masked."""
    assert shipped("agent")["processors"]["redaction"] == shipped("collector")["processors"]["redaction"]
    for name, signal in [
        ("agent", "traces"),
        ("agent", "logs"),
        ("collector", "traces"),
        ("collector", "logs"),
    ]:
        assert "redaction" in shipped(name)["service"]["pipelines"][signal]["processors"]


def test_spans_are_measured_before_they_are_sampled() -> None:
    pipelines = shipped("gateway")["service"]["pipelines"]
    measuring = [pipeline for pipeline in pipelines.values() if "span_metrics" in pipeline["exporters"]]
    assert measuring
    assert [] == [pipeline for pipeline in measuring if "tail_sampling" in pipeline["processors"]]


# --- Kubernetes ---------------------------------------------------------------------------------------------


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    files = yaml.safe_load((CONFIG / "kustomization.yaml").read_text())["resources"]
    documents = [document for file in files for document in yaml.safe_load_all((CONFIG / file).read_text())]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def container(kind: str, name: str) -> dict[str, Any]:
    return dict(manifests()[kind, name]["spec"]["template"]["spec"]["containers"][0])


def variables(kind: str, name: str) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(kind, name)["env"]}


def test_kustomize_lists_every_manifest_and_both_collector_files() -> None:
    kustomization = yaml.safe_load((CONFIG / "kustomization.yaml").read_text())
    assert {f"kubernetes/{path.name}" for path in (CONFIG / "kubernetes").glob("*.yaml")} == set(
        kustomization["resources"]
    )
    maps = {entry["name"]: entry["files"] for entry in kustomization["configMapGenerator"]}
    assert {"bext-agent": ["config.yaml=agent.yaml"], "bext-gateway": ["config.yaml=gateway.yaml"]} == maps


def test_agents_find_gateways_by_the_headless_service() -> None:
    service = manifests()["Service", "bext-gateway"]
    assert service["spec"]["clusterIP"] == "None"
    agent = variables("DaemonSet", "bext-agent")
    assert agent["GATEWAY_HOST"].split(".")[:2] == ["bext-gateway", "observability"]
    assert agent["GATEWAY_PORT"] == str(service["spec"]["ports"][0]["port"])
    assert variables("StatefulSet", "bext-gateway")["OTLP_GRPC_ENDPOINT"].endswith(
        f":{agent['GATEWAY_PORT']}"
    )


@pytest.mark.parametrize(
    ("kind", "name", "file"),
    [("DaemonSet", "bext-agent", "agent"), ("StatefulSet", "bext-gateway", "gateway")],
)
def test_every_variable_of_a_manifest_is_read_by_its_file(kind: str, name: str, file: str) -> None:
    text = (CONFIG / f"{file}.yaml").read_text()
    assert [] == [
        variable
        for variable in variables(kind, name)
        if variable != "GOMEMLIMIT" and f"${{env:{variable}" not in text
    ]


@pytest.mark.parametrize(("kind", "name"), [("DaemonSet", "bext-agent"), ("StatefulSet", "bext-gateway")])
def test_go_collects_garbage_before_the_kernel_kills(kind: str, name: str) -> None:
    """GOMEMLIMIT is 80 % of the container's memory limit."""
    limit = container(kind, name)["resources"]["limits"]["memory"]
    mebibytes = int(limit[:-2]) * {"Mi": 1, "Gi": 1024}[limit[-2:]]
    assert f"{round(mebibytes * 0.8)}MiB" == variables(kind, name)["GOMEMLIMIT"]


def test_kubernetes_and_compose_run_the_same_collector() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["collector"]["image"]
    assert {compose} == {
        container("DaemonSet", "bext-agent")["image"],
        container("StatefulSet", "bext-gateway")["image"],
    }


def test_the_application_is_probed_on_its_own_port() -> None:
    demo = container("Deployment", "bext-demo")
    probes = {kind: demo[kind]["httpGet"] for kind in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert "/health/live" == probes["livenessProbe"]["path"]
    assert "/health/ready" == probes["readinessProbe"]["path"]
    assert {"http"} == {probe["port"] for probe in probes.values()}
    assert "true" == variables("Deployment", "bext-demo")["BEXT_METRICS_MOUNT"]


WORKLOADS = [("DaemonSet", "bext-agent"), ("StatefulSet", "bext-gateway"), ("Deployment", "bext-demo")]
SENDER, SCRAPER = {"bext-otel/sender": "true"}, {"bext-otel/scraper": "true"}


def pod(kind: str, name: str) -> dict[str, Any]:
    return dict(manifests()[kind, name]["spec"]["template"]["spec"])


def test_every_workload_is_known_to_these_tests() -> None:
    workloads = {key for key, document in manifests().items() if "template" in document.get("spec", {})}
    assert set(WORKLOADS) == workloads


@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_nobody_has_more_than_the_container_needs(kind: str, name: str) -> None:
    spec = pod(kind, name)
    assert spec["automountServiceAccountToken"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert {"type": "RuntimeDefault"} == context["seccompProfile"]
    assert set() == {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for each in spec["containers"]:
        own = each["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert {"drop": ["ALL"]} == own["capabilities"]
        assert set() == {"runAsUser", "runAsNonRoot", "privileged"} & set(own)


def test_root_hands_the_node_s_folder_over_and_does_nothing_else() -> None:
    spec = pod("DaemonSet", "bext-agent")
    (init,) = spec["initContainers"]
    context = spec["securityContext"]
    owner = f"{context['runAsUser']}:{context['runAsGroup']}"
    (mount,) = init["volumeMounts"]
    assert ["chown", owner, mount["mountPath"]] == init["command"]
    assert {"drop": ["ALL"], "add": ["CHOWN"]} == init["securityContext"]["capabilities"]
    assert init["securityContext"]["readOnlyRootFilesystem"] is True
    (volume,) = (each for each in spec["volumes"] if each["name"] == mount["name"])
    assert "hostPath" in volume


def allowed(policy: str) -> dict[int, list[dict[str, Any]]]:
    """Port -> who gets in."""
    spec = manifests()["NetworkPolicy", policy]["spec"]
    assert ["Ingress"] == spec["policyTypes"]
    return {port["port"]: rule["from"] for rule in spec["ingress"] for port in rule["ports"] if rule["from"]}


def anywhere(labels: dict[str, str]) -> list[dict[str, Any]]:
    """Pods with these labels, in any namespace."""
    return [{"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}]


def test_an_agent_takes_from_pods_with_the_label_alone() -> None:
    """Its ports are the node's, where every pod could reach them."""
    agent = manifests()["DaemonSet", "bext-agent"]["spec"]["template"]
    policy = manifests()["NetworkPolicy", "bext-agent"]["spec"]
    assert agent["metadata"]["labels"] == policy["podSelector"]["matchLabels"]
    assert {
        4317: anywhere(SENDER),
        4318: anywhere(SENDER),
        8888: anywhere(SCRAPER),
        8889: anywhere(SCRAPER),
    } == (allowed("bext-agent"))
    published = {port["hostPort"] for each in pod("DaemonSet", "bext-agent")["containers"] for port in each["ports"] if "hostPort" in port}  # fmt: skip
    assert published
    assert published <= {port for port, who in allowed("bext-agent").items() if who == anywhere(SENDER)}


def test_a_gateway_takes_from_agents_alone() -> None:
    """What others send has met no mask."""
    gateway = manifests()["StatefulSet", "bext-gateway"]["spec"]["template"]
    policy = manifests()["NetworkPolicy", "bext-gateway"]["spec"]
    assert gateway["metadata"]["labels"] == policy["podSelector"]["matchLabels"]
    agents = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "bext-agent"}}}]
    assert {4317: agents, 8888: anywhere(SCRAPER), 8889: anywhere(SCRAPER)} == allowed("bext-gateway")


def test_the_application_carries_the_label_that_the_agent_wants() -> None:
    labels = manifests()["Deployment", "bext-demo"]["spec"]["template"]["metadata"]["labels"]
    assert SENDER.items() <= labels.items()


# --- Prometheus ---------------------------------------------------------------------------------------------


def test_nobody_chooses_the_job_under_which_prometheus_keeps_him() -> None:
    jobs = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["scrape_configs"]
    assert [] == [job["job_name"] for job in jobs if job.get("honor_labels")]
