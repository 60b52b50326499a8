"""docker-compose.yml, started as it is: with podman-compose, and images made from the same programs where
none can be pulled."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.backends import ROOT, answers, fetch, free_port, program, unavailable
from tests.waiting import until


def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


# --- What the file says -------------------------------------------------------------------------------------


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published
    assert [] == [port for port in published if not port.startswith("127.0.0.1:")]


def test_images_are_pinned_and_named_in_full() -> None:
    """Docker and podman read a full name alike; only the image built here needs no version."""
    pulled = [service["image"] for service in services().values() if "build" not in service]
    pinned = r"docker\.io/[\w-]+/[\w-]+:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?"
    assert [] == [image for image in pulled if not re.fullmatch(pinned, image)]


def test_nobody_has_more_than_the_service_needs() -> None:
    """A file system that is read only, no capability and no way to one, and not root."""
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges"] == service["security_opt"], name
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), name
        assert set() == {"cap_add", "privileged", "pid", "ipc", "network_mode", "devices"} & set(service), (
            name
        )


def test_nobody_can_log_in_with_a_password_that_everybody_knows() -> None:
    """Grafana's first admin is admin with the password admin."""
    grafana = services()["grafana"]["environment"]
    assert "true" == grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"]
    assert "true" == grafana["GF_AUTH_DISABLE_LOGIN_FORM"]
    assert "false" == grafana["GF_AUTH_BASIC_ENABLED"]
    assert "Viewer" == grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"]


def test_grafana_starts_only_when_asked() -> None:
    assert ["grafana"] == [name for name, service in services().items() if service.get("profiles")]


def test_every_mounted_file_exists() -> None:
    mounted = [volume.split(":") for service in services().values() for volume in service.get("volumes", [])]
    files = [volume for volume in mounted if volume[0].startswith("./")]
    assert files
    assert [] == [path for path, *_ in files if not (ROOT / path).exists()]
    assert {"ro"} == {volume[-1] for volume in files}
    assert set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"]) == {
        name for name, *_ in mounted if not name.startswith("./")
    }


# --- The file, running --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stack:
    """The running services and the ports that they were given on loopback."""

    project: str
    env: dict[str, str]
    ports: dict[str, int]

    def url(self, service: str, path: str) -> str:
        """An address of a service."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def compose(self, *arguments: str) -> None:
        """A podman-compose command on this project."""
        argv = [
            self.env["PODMAN_COMPOSE"],
            "--file",
            str(ROOT / "docker-compose.yml"),
            "--project-name",
            self.project,
            *arguments,
        ]
        done = subprocess.run(
            argv, env=self.env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    def podman(self, *arguments: str) -> str:
        """Output of a podman command."""
        return subprocess.run(
            ["podman", *arguments], env=self.env, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service -> state of its container, running or not."""
        ids = self.podman(
            "ps", "--all", "--quiet", "--filter", f"label=io.podman.compose.project={self.project}"
        ).split()
        found = json.loads(self.podman("inspect", *ids)) if ids else []
        return {
            container["Config"]["Labels"]["com.docker.compose.service"]: container["State"]
            for container in found
        }

    def statuses(self) -> dict[str, dict[str, str]]:
        """Service -> what the kernel says of its first process."""
        return {
            name: dict(
                line.split(":\t", 1) for line in Path(f"/proc/{state['Pid']}/status").read_text().splitlines()
            )
            for name, state in self.containers().items()
        }

    def logs(self) -> str:
        """The end of every container's output, for a failed test."""
        names = self.podman(
            "ps",
            "--all",
            "--format",
            "{{.Names}}",
            "--filter",
            f"label=io.podman.compose.project={self.project}",
        ).split()
        outputs = (
            subprocess.run(
                ["podman", "logs", "--tail", "15", name],
                env=self.env,
                capture_output=True,
                text=True,
                check=False,
            )
            for name in names
        )
        return "\n".join(
            f"== {name}\n{output.stdout}{output.stderr}" for name, output in zip(names, outputs, strict=True)
        )


def container_environment() -> dict[str, str]:
    """The environment in which podman sees the images of scripts/images.sh; skips or fails where one of them
    is missing."""
    program("podman")
    if os.geteuid() != 0:
        unavailable("containers are tested as root only")
    printed = subprocess.run(
        [ROOT / "scripts" / "images.sh", "env"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    env = {**os.environ, **dict(line.split("=", 1) for line in printed.splitlines())}
    if not Path(env["PODMAN_COMPOSE"]).exists():
        unavailable("podman-compose is missing: run scripts/images.sh")
    for name, service in services().items():
        if "profiles" in service:
            continue
        exists = subprocess.run(
            ["podman", "image", "exists", service["image"]], env=env, check=False, timeout=60
        )
        if exists.returncode != 0:
            unavailable(f"the image of {name}, {service['image']}, is missing: run scripts/images.sh")
    return env


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    env = container_environment()
    ports = {name: free_port() for name in ("demo", "jaeger", "prometheus", "otlp_grpc", "otlp_http")}
    env.update({f"{name.upper()}_PORT": str(port) for name, port in ports.items()})
    running = Stack(f"bext-e2e-{os.getpid()}", env, ports)
    try:
        running.compose("up", "--detach", "--no-build")
        yield running
    finally:
        running.compose("down", "--volumes")


def visit(stack: Stack) -> str:
    """A request to the demo in a new trace; its id."""
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    until(
        lambda: fetch(stack.url("demo", "/search?q=tea"), headers=headers)[0] == 200,
        why=f"the demo answers\n{stack.logs()}",
    )
    return trace_id


@pytest.mark.backends
@pytest.mark.e2e
def test_traffic_of_the_compose_file_is_found_and_everything_stops(stack: Stack) -> None:
    """Demo traffic in, its trace in Jaeger, its metrics in Prometheus; then a clean stop that leaves
    nothing."""
    until(lambda: answers(stack.url("prometheus", "/-/ready")), why="Prometheus is ready")
    trace_id = visit(stack)

    def operations() -> set[str]:
        status, body = fetch(stack.url("jaeger", f"/api/traces/{trace_id}"))
        return (
            {span["operationName"] for span in json.loads(body)["data"][0]["spans"]}
            if status == 200
            else set()
        )

    until(lambda: {"GET /search", "GET /api/search"} <= operations(), why="Jaeger has the trace")

    def total(metric: str) -> list[Any]:
        status, body = fetch(
            stack.url(
                "prometheus",
                "/api/v1/query?" + urllib.parse.urlencode({"query": f'{metric}{{job="bext"}} > 0'}),
            )
        )
        return list(json.loads(body)["data"]["result"]) if status == 200 else []

    for metric in ("bext_requests_total", "bext_request_duration_ms", "bext_request_size_bytes"):
        until(partial(total, metric), why=f"Prometheus has {metric}")

    assert {name: True for name in services() if name != "grafana"} == {
        name: state["Running"] for name, state in stack.containers().items()
    }
    for name, status in stack.statuses().items():
        assert 0 == int(status["CapBnd"], 16) == int(status["CapEff"], 16), name
        assert "1" == status["NoNewPrivs"], name
        assert "0" not in status["Uid"].split(), name
    stack.compose("stop")
    codes = {name: state["ExitCode"] for name, state in stack.containers().items()}
    assert [] == [name for name, code in codes.items() if code not in (0, 143)], (
        f"killed, or ended badly: {codes}"
    )
    stack.compose("down", "--volumes")
    assert {} == stack.containers()
    assert stack.project not in stack.podman("volume", "ls", "--format", "{{.Name}}")
    assert [] == [
        line
        for line in stack.podman("network", "ls", "--format", "{{.Name}}").splitlines()
        if stack.project in line
    ]
