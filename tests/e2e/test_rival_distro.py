"""Upstream's own distribution installed beside ours: without a variable it is still ours, and with one it is
theirs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

RIVAL = "opentelemetry-distro==0.66b1"
UVICORN = "uvicorn --port {port} starlette_app:app"


@pytest.fixture(scope="session")
def rival(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory that holds upstream's distribution; on machines that cannot get it, the tests skip."""
    folder = tmp_path_factory.mktemp("rival")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), RIVAL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        reason = f"{RIVAL} can't be had: {done.stderr.strip()[-200:]}"
        if os.environ.get("BEXT_REQUIRE_BACKENDS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    assert list(Path(folder).glob("opentelemetry_distro-*"))
    return str(folder)


@pytest.fixture(params=["rival-first", "ours-first"])
def first(request: pytest.FixtureRequest, rival: str) -> tuple[str, ...]:
    """What stands first on sys.path: the launcher takes the distribution that it finds first."""
    return (rival,) if request.param == "rival-first" else (sysconfig.get_path("purelib"), rival)


def test_without_a_variable_ours_is_taken(tmp_path: Path, first: tuple[str, ...]) -> None:
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        with launched(tmp_path, UVICORN, env=env, first=first) as program:
            program.get("/items/tea")
            span = received.span(kind="server", url_path="/items/tea")
            assert "bext-otel" == span.resource["telemetry.distro.name"]
            assert span.trace_id == program.completion("/items/tea")["trace_id"]
            assert (
                program.metrics()[
                    'bext_requests_total{app="shop",method="GET",status="200",route="/items/{item}"}'
                ]
                >= 1
            )
            assert 200 == program.endpoint("/health/ready").status_code
            assert "Traceback" not in program.output()
            assert "Configuration of" not in program.output(), (
                "theirs is not loaded, which is nothing to warn of"
            )


def test_a_variable_takes_theirs(tmp_path: Path, first: tuple[str, ...]) -> None:
    """Nothing of ours is in it: one server span for a request, which is of upstream's instrumentation, and no
    metrics or lines of ours."""
    with receiving() as received:
        env = {
            **SOON,
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        # Upstream's instrumentation of logging takes away what Python itself would print.
        theirs = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging"}
        with launched(tmp_path, UVICORN, env={**env, **theirs}, first=first) as program:
            program.get("/items/tea")
            span = until(
                lambda: [one for one in received.spans(kind="server") if "/items/tea" in str(one.attributes)],
            )[0]
            assert "bext" not in span.scope
            assert "bext-otel" != span.resource.get("telemetry.distro.name")
            assert "bext.engine" not in span.resource
            assert program.holder() is None
            assert "item read" in program.output()
            program.get("/items/last")
            until(
                lambda: [
                    one for one in received.spans(kind="server") if "/items/last" in str(one.attributes)
                ],
            )
            assert 1 == len(
                [one for one in received.spans(kind="server") if "/items/tea" in str(one.attributes)]
            )
            assert "Traceback" not in program.output()
