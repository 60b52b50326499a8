"""docs/health.md, done by what it says: a check that hangs, probes from another address, and a drain."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml

from tests.e2e.launching import Launched, launched
from tests.pages import write_files
from tests.waiting import until

pytestmark = pytest.mark.e2e

COMMAND = "uvicorn app:app --host {host} --port {{port}}"
# Of this machine, and not the address that the stand-alone server listens on: what a pod's own is to the kubelet.
ELSEWHERE = "127.0.0.2"


def deployment(folder: Path) -> dict[str, object]:
    assert ["app.py", "deployment.yaml"] == write_files("health.md", folder)
    found: dict[str, object] = yaml.safe_load((folder / "deployment.yaml").read_text())
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Launched]:
    """As the page starts it by hand."""
    deployment(tmp_path)
    command = COMMAND.format(host="127.0.0.1")
    with launched(tmp_path, command, env={"OTEL_SERVICE_NAME": "shop"}, path="/docs") as program:
        yield program


def test_a_check_that_hangs_degrades_and_keeps_no_traffic_away(shop: Launched) -> None:
    until(lambda: 200 == shop.endpoint("/health/ready").status_code, why="the database's first answer")
    report = until(
        lambda: (
            (found := shop.endpoint("/health").json())["checks"]["payments"]["status"] == "unhealthy"
            and found
        ),
        why="the check past its limit",
    )
    assert ("degraded", "healthy") == (report["status"], report["checks"]["database"]["status"])
    assert "reason" in report["checks"]["payments"]
    assert (200, 200) == (
        shop.endpoint("/health/ready").status_code,
        shop.endpoint("/health/live").status_code,
    )


def test_a_critical_one_that_hangs_is_not_ready_and_alive(tmp_path: Path) -> None:
    deployment(tmp_path)
    app = tmp_path / "app.py"
    app.write_text(app.read_text().replace("payments, timeout", "payments, critical=True, timeout"))
    with launched(tmp_path, COMMAND.format(host="127.0.0.1"), path="/docs") as program:
        found = until(
            lambda: (
                (answer := program.endpoint("/health/ready")).status_code == 503
                and answer.json().get("checks", {}).get("payments", {}).get("status") == "unhealthy"
                and answer
            ),
            why="the check past its limit",
        )
        assert "payments" in found.text
        assert 200 == program.endpoint("/health/live").status_code


def test_a_kubelet_reaches_nothing_on_loopback(shop: Launched) -> None:
    shop.endpoint("/health/live")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{ELSEWHERE}:{shop.endpoints_port}/health/live", trust_env=False)


def test_on_all_addresses_a_kubelet_is_told_the_status_alone(tmp_path: Path) -> None:
    deployment(tmp_path)
    env = {"OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0"}  # as the page says
    with launched(tmp_path, COMMAND.format(host="127.0.0.1"), env=env, path="/docs") as program:
        url = f"http://{ELSEWHERE}:{program.endpoints_port}/health/ready"

        def ready() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                answer = httpx.get(url, trust_env=False)
                return answer if answer.status_code == 200 else None
            return None

        assert {"status": "healthy"} == until(ready, why="a ready service").json()
        assert "everybody" in program.output()


def test_the_deployment_of_the_page_is_probed_drained_and_goes_on_serving(tmp_path: Path) -> None:
    """Its environment, its probes' paths and its signal, at the address of a pod."""
    template = deployment(tmp_path)["spec"]["template"]["spec"]  # type: ignore[index]
    (container,) = template["containers"]
    env = {row["name"]: row["value"] for row in container["env"]}
    assert "kill -USR1 1" in container["lifecycle"]["preStop"]["exec"]["command"][-1]
    with launched(tmp_path, COMMAND.format(host="0.0.0.0"), env=env, path="/docs") as program:
        address = program.url.replace("127.0.0.1", ELSEWHERE)

        def asked(kind: str) -> int:
            path = container[f"{kind}Probe"]["httpGet"]["path"]
            return httpx.get(address + path, trust_env=False, timeout=20).status_code

        until(lambda: 200 == asked("readiness"), why="a ready service")
        assert (200, 200) == (asked("startup"), asked("liveness"))
        program.process.send_signal(signal.SIGUSR1)
        until(lambda: 503 == asked("readiness"), why="a service that drains")
        assert 200 == asked("liveness")
        assert 200 == httpx.get(f"{address}/docs", trust_env=False).status_code
        assert 1 == httpx.get(f"{address}/metrics", trust_env=False).text.count("target_info{")
        assert [] == [
            line for line in program.lines(message="request completed") if "/health" in line["path"]
        ]
