"""Alerts of a service of two workers: told once, by one of them, and by another one when that is gone."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bext_otel.alerts.prometheus import rule_file
from bext_otel.alerts.rules import SHIPPED
from tests.e2e.backends import alertmanager, fetch, prometheus
from tests.e2e.launching import Launched, free_port, launched, samples
from tests.e2e.services import ON_LINUX
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

SETTINGS = """
[alerts]
interval_seconds = 0.3

[alerts.rules.error_ratio]
for_seconds = 0
window_seconds = 10
minimum = 1
"""


def alerts(program: Launched, state: str) -> list[dict[str, Any]]:
    return program.lines(alert="error_ratio", event=f"bext.alert.{state}") or [
        line
        for line in program.lines(alert="error_ratio")
        if line["message"].startswith(
            "alert error_ratio " + ("fires" if state == "firing" else "is resolved")
        )
    ]


def test_a_fault_is_told_once_among_the_workers_and_when_it_is_over(tmp_path: Path) -> None:
    """Errors of both workers count together; with the worker killed that told of it, another one goes on."""
    (tmp_path / "bext.config.toml").write_text(SETTINGS)
    command = "gunicorn -w 2 -b 127.0.0.1:{port} -k uvicorn_worker.UvicornWorker service_asgi:app"
    with launched(tmp_path, command, env={"OTEL_SERVICE_NAME": f"alerts-{tmp_path.name}"}) as program:

        def failing(path: str = "/fail") -> set[int]:
            return {program.get(path).json()["pid"] for _ in range(40)}

        until(lambda: len(failing("/items/1")) == 2, why="both workers to answer")
        until(lambda: failing() and alerts(program, "firing"), why="an alert")
        (told,) = alerts(program, "firing")
        assert ("error", "critical") == (told["level"], told["alert_severity"])
        until(lambda: alerts(program, "resolved"), why="its end")
        assert 1 == len(alerts(program, "firing"))
        for pid in failing("/items/1"):
            os.kill(pid, signal.SIGKILL)
            break
        until(lambda: len(failing("/items/1")) == 2, why="another worker")
        until(lambda: failing() and len(alerts(program, "firing")) >= 2, why="an alert of who is left")


ONE = """
[alerts]
interval_seconds = 0.5
shipped = true

[alerts.rules.error_ratio]
for_seconds = 0
window_seconds = 15

[alerts.receivers.one]
kind = "alertmanager"
url = "{url}"

[alerts.receivers.refuses]
url = "http://127.0.0.1:{closed}/hook"
"""


@pytest.mark.backends
def test_alertmanager_takes_ours_and_prometheuss_for_one_alert(tmp_path: Path) -> None:
    """Of one fault, seen by both: one alert there, with the same labels, and none when it is over. A receiver
    that is not there keeps nobody waiting."""
    with alertmanager(tmp_path) as url:
        (tmp_path / "bext.config.toml").write_text(ONE.format(url=url, closed=free_port()))
        rule = replace(SHIPPED["error_ratio"], for_seconds=0, window_seconds=15)
        (tmp_path / "rules.yml").write_text(rule_file({"error_ratio": rule}))
        command = "gunicorn -w 2 -b 127.0.0.1:{port} -k uvicorn_worker.UvicornWorker service_asgi:app"
        with launched(tmp_path, command, env={"OTEL_SERVICE_NAME": f"one-{tmp_path.name}"}) as program:
            program.get("/items/1")
            program.endpoint("/metrics")
            config = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yml"],
                "scrape_configs": [
                    {"job_name": "bext", "static_configs": [{"targets": [program.endpoints_url[7:]]}]}
                ],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [url[7:]]}]}]},
            }
            with prometheus(tmp_path, config) as scraping:
                labels = {"alertname": "error_ratio", "severity": "critical", "app": f"one-{tmp_path.name}"}

                def both_fire() -> bool:
                    for _ in range(20):
                        program.get("/fail")
                    ours = program.lines(alert="error_ratio")
                    theirs = json.loads(fetch(f"{scraping.url}/api/v1/alerts")[1])["data"]["alerts"]
                    return bool(ours) and labels in [each["labels"] for each in theirs]

                until(both_fire, why="both to see the fault")
                sent = "prometheus_notifications_sent_total"
                until(lambda: _sum(scraping.url, sent) > 0, why="Prometheus to have told")
                until(lambda: _sum(url, "alertmanager_alerts_received_total") >= 2)
                assert [labels] == [each["labels"] for each in _alerts(url)]
                until(lambda: _alerts(url) == [], why="the end of it", seconds=90)
                until(lambda: program.lines(alert="error_ratio")[-1]["level"] == "info", seconds=60)


def _alerts(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fetch(f"{url}/api/v2/alerts?active=true")[1])
    return found


def _sum(url: str, name: str) -> float:
    page = fetch(f"{url}/metrics")[1].decode()
    return sum(value for series, value in samples(page).items() if series.startswith(name))
