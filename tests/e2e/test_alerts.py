"""Alerts of a service of two workers: told once, by one of them, and by another one when that is gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.launching import Launched, launched
from tests.e2e.services import ON_LINUX
from tests.waiting import until

pytestmark = [pytest.mark.e2e, ON_LINUX]

SETTINGS = """
[alerts]
interval_seconds = 0.3

[alerts.rules.error_ratio]
for_seconds = 0
window_seconds = 6
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
        until(lambda: failing() and len(alerts(program, "firing")) == 2, why="an alert of who is left")
