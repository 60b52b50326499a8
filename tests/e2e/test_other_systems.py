"""Systems that lack what Linux has, simulated (apps/lacking.py): telemetry runs, commands run, and one line says
what can't be shared. What such a system does in another way is not shown by this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import APPS, environment, free_port
from tests.waiting import limit

pytestmark = pytest.mark.e2e

SERVES = """
import json, os, sys, threading, time, urllib.request
import lacking
import bext_otel
runs = bext_otel.configure(telemetry={"service_name": "shop"})
app = lacking.flask.Flask("shop")
app.get("/items/<item>")(lambda item: item)
from opentelemetry import metrics
metrics.get_meter("shop").create_counter("things").add(3)
from wsgiref.simple_server import make_server
server = make_server("127.0.0.1", 0, app)
threading.Thread(target=server.serve_forever, daemon=True).start()
ask = lambda port, path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read().decode()
assert "7" == ask(server.server_port, "/items/7")
for _ in range(600):
    try:
        page = ask(os.environ["OTEL_EXPORTER_PROMETHEUS_PORT"], "/metrics")
        if "bext_requests_total{" in page:
            break
    except OSError:
        pass
    time.sleep(0.05)
health = json.loads(ask(os.environ["OTEL_EXPORTER_PROMETHEUS_PORT"], "/health"))
print("shown:", json.dumps([page, health]))
runs.shutdown()
"""
DEPLOYS = """
import lacking
from bext_otel.cli import main
main(["deploy", "--app", "shop", "--version", "1", "--rollback-code", "3", "--", {python!r}, "-c", "print('deployed'); raise SystemExit(3)"])
"""


def ran(folder: Path, like: str, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**environment(folder, free_port(), {"LIKE": like}), "PYTHONPATH": str(APPS)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit(60),
        check=False,
    )


@pytest.mark.parametrize("like", ["windows", "macos"])
def test_a_process_measures_serves_its_endpoints_and_says_that_it_stands_alone(
    tmp_path: Path, like: str
) -> None:
    told = ran(tmp_path, like, SERVES)
    assert 0 == told.returncode, told.stderr
    (shown,) = [line for line in told.stdout.splitlines() if line.startswith("shown: ")]
    page, health = json.loads(shown.removeprefix("shown: "))
    assert 'bext_requests_total{app="shop",method="GET",status="200",route="/items/<item>"} 1' in page
    assert 'things_total{otel_scope_name="shop"} 3' in page
    assert "healthy" == health["checks"]["disk"]["status"]
    (line,) = told.stderr.splitlines()
    assert "can't share its metrics with other workers" in line


@pytest.mark.parametrize("like", ["windows", "macos"])
def test_a_deploy_runs_its_command_to_the_end(tmp_path: Path, like: str) -> None:
    told = ran(tmp_path, like, DEPLOYS.format(python=os.path.realpath(sys.executable)))
    assert (3, "deployed\n") == (told.returncode, told.stdout), told.stderr
    assert "Traceback" not in told.stderr
