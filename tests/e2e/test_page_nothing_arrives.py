"""docs/nothing-arrives.md and docs/viewer.md, done by what they say: what the line says, and what health says."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.launching import SCRIPTS, SOON, Launched, environment, free_port, launched
from tests.e2e.otlp import receiving, receiving_grpc
from tests.export.certificates import certificate, over_tls
from tests.pages import DOCS
from tests.waiting import until

pytestmark = pytest.mark.e2e

UVICORN = "uvicorn --port {port} starlette_app:app"
TABLE = (DOCS / "nothing-arrives.md").read_text(encoding="utf-8").partition("## What the line says")[2]
ROWS = re.findall(r"^\| `([^`]+)`(?:, `[^`]+`)? \|", TABLE.partition("## It is sent")[0], re.MULTILINE)


def endpoint(kind: str, folder: Path, stack: ExitStack) -> dict[str, str]:
    """A receiver of this kind, and what a service is told of it."""
    protocol = "http/protobuf"
    if kind == "this port speaks gRPC: ...":
        address = stack.enter_context(receiving_grpc()).endpoint
    elif kind in {"Connection reset by peer", "CERTIFICATE_VERIFY_FAILED"}:
        port = stack.enter_context(over_tls(*certificate(folder, "collector"))).port
        address = f"{'https' if kind.startswith('CERT') else 'http'}://localhost:{port}"
    elif kind == "Connection refused":
        address = f"http://127.0.0.1:{free_port()}"
    else:
        status = {"401 Unauthorized": 401, "404 Not Found": 404}.get(kind, 200)
        address = stack.enter_context(receiving(status)).endpoint
    if kind == "this port speaks HTTP: ...":
        protocol = "grpc"
    elif kind == "this port speaks no TLS: ...":
        address = address.replace("http://", "https://")
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def telemetry(program: Launched) -> dict[str, Any]:
    found: dict[str, Any] = program.endpoint("/health").json()["checks"]["telemetry"]
    return found


HEADING = "export of traces to ... fails:"
UNTRIED = {HEADING, "this port speaks TLS: ...", "Name or service not known", "no answer in time"}
TRIED = [row for row in ROWS if row not in UNTRIED]


def test_the_rows_that_are_tried_are_those_of_the_page() -> None:
    assert 8 == len(TRIED)
    assert set(ROWS) == {*TRIED, *UNTRIED}


@pytest.mark.parametrize("said", TRIED)
def test_a_wrong_endpoint_is_told_in_the_words_of_the_page(tmp_path: Path, said: str) -> None:
    with ExitStack() as stack:
        env = {**SOON, "OTEL_SERVICE_NAME": "shop", **endpoint(said, tmp_path, stack)}
        program = stack.enter_context(launched(tmp_path, UVICORN, env=env))
        program.get("/items/7")
        words = said.removesuffix(" ...")

        def told() -> list[dict[str, Any]]:
            lines = program.lines(level="warn", target="bext_otel.export")
            return [line for line in lines if line["message"].startswith("export of traces to ")]

        assert words in until(told, why=program.output)[0]["message"]
        found = until(
            lambda: (found := telemetry(program)).get("spans_export") == "failing" and found, why="health"
        )
        assert "degraded" == found["status"]


def test_an_endpoint_without_scheme_is_unusable_and_one_that_is_right_is_ok(tmp_path: Path) -> None:
    with receiving() as received:
        wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint.removeprefix("http://")}
        with launched(tmp_path / "wrong", UVICORN, env=wrong) as program:
            assert "unusable" == telemetry(program)["otlp_endpoint"]
            assert "expected an http:// or https:// URL" in program.output()
        right = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path / "right", UVICORN, env=right) as program:
            program.get("/items/7")
            until(lambda: "ok" == telemetry(program)["spans_export"], why="an answer")
    with launched(tmp_path / "none", UVICORN) as program:
        assert "spans_export" not in telemetry(program)


def test_the_viewer_shows_what_the_page_has_it_sent(tmp_path: Path) -> None:
    viewer = subprocess.Popen(
        [sys.executable, f"{SCRIPTS}/bext-otel", "view", "--port", "0", "--no-token"],
        cwd=tmp_path,
        env=environment(tmp_path, 0, {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert viewer.stdout is not None
        page, sent = viewer.stdout.readline().split(), viewer.stdout.readline().split()
        assert (["Viewer"], ["Send", "to"]) == (page[:1], sent[:2])
        env = {**SOON, "OTEL_SERVICE_NAME": "shop", **dict(word.split("=", 1) for word in sent[2:])}
        with launched(tmp_path, UVICORN, env=env) as program:
            program.get("/items/7")
            until(lambda: "ok" == telemetry(program)["spans_export"], why="an answer of the viewer")
        assert 200 == httpx.get(page[1], trust_env=False).status_code
    finally:
        viewer.terminate()
        viewer.communicate(timeout=30)
