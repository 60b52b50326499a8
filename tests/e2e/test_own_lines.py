"""What servers and applications print and write themselves beside our lines: nothing twice, nothing lost,
nothing about us."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.backends import unavailable
from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

WORKER = "uvicorn_worker.UvicornWorker"
# The command, what its server says when it listens, and what says of an unhandled exception: the completion
# record, or the framework.
SERVERS = {
    "uvicorn": ("uvicorn --port {port} starlette_app:app", "Uvicorn running on", "request completed"),
    "gunicorn": (
        "gunicorn -b 127.0.0.1:{port} --access-logfile - flask_app:app",
        "Listening at",
        "request completed",
    ),
    "gunicorn-asgi": (
        "gunicorn -k asgi -b 127.0.0.1:{port} --access-logfile - starlette_app:app",
        "Listening at",
        "request completed",
    ),
    "hypercorn": (
        "hypercorn -b 127.0.0.1:{port} --access-logfile - starlette_app:app",
        "Running on",
        "request completed",
    ),
    "granian": (
        "granian --interface asgi --port {port} --access-log starlette_app:app",
        "Listening at",
        "request completed",
    ),
    "daphne": ("daphne -p {port} --access-log - starlette_app:app", "Listening on TCP", "request completed"),
    "waitress": (
        "waitress-serve --listen 127.0.0.1:{port} flask_app:app",
        "Serving on",
        "request completed",
    ),
    "uvicorn-worker": (
        f"gunicorn -k {WORKER} -b 127.0.0.1:{{port}} --access-logfile - starlette_app:app",
        "Listening at",
        "request completed",
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_all_that_a_server_prints_is_json_and_an_exception_has_its_trace(tmp_path: Path, server: str) -> None:
    command, listening, teller = SERVERS[server]
    if server == "daphne":
        pytest.importorskip("daphne")
    if WORKER in command and not _is_installed():
        unavailable("uvicorn-worker is not installed")
    with receiving() as received:
        env = {**SOON, "OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, command, env=env) as program:
            assert 500 == program.get("/fail").status_code
            span = received.span(kind="server", url_path="/fail")
            found = until(
                lambda: program.lines(message=teller, trace_id=span.trace_id, level="error"),
                why=f"it in {program.output()}",
            )
            assert ["RuntimeError"] == [line["exception.type"] for line in found]
            assert "out of coffee" in found[0]["exception.stacktrace"]
            exported = until(
                lambda: [line for line in received.lines(teller) if line.trace_id == span.trace_id]
            )
            assert ["out of coffee"] == [line.attributes["exception.message"] for line in exported]
            program.end()
        output = program.output().splitlines()
        assert [] == [line for line in output if not line.startswith("{")]
        assert 1 == sum("out of coffee" in line for line in output)
        assert 1 == sum(listening in line for line in output)
        assert 1 == sum('"request completed"' in line and '"/fail"' in line for line in output)


def test_access_lines_stay_where_no_record_tells_of_requests(tmp_path: Path) -> None:
    command = "uvicorn --port {port} starlette_app:app"
    with launched(tmp_path, command, env={"BEXT_LOGGING_REQUESTS": "false"}) as program:
        program.get("/items/tea")
        assert until(
            lambda: [
                line for line in program.output().splitlines() if '"GET /items/tea HTTP/1.1" 200' in line
            ]
        )


@pytest.mark.parametrize(
    "env", [{"BEXT_LOGGING_OUTPUT": "none"}, {"BEXT_LOGGING_ENABLED": "false"}], ids=["none", "disabled"]
)
def test_without_our_lines_a_server_prints_its_own(tmp_path: Path, env: dict[str, str]) -> None:
    with launched(tmp_path, "uvicorn --port {port} starlette_app:app", env=env) as program:
        program.get("/fail")
        until(lambda: "RuntimeError: out of coffee" in program.output().splitlines())
        output = program.output()
    assert "INFO:     Uvicorn running on" in output
    assert [] == program.lines()


def test_a_script_has_its_own_log_file_and_nothing_about_exporting_in_it(tmp_path: Path) -> None:
    with receiving() as received:
        with launched(
            tmp_path, "python -m debugging", env={"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        ) as program:
            assert 0 == program.wait(), program.output()
        assert {"job begins", "job ends"} == {
            body for body in ("job begins", "job ends") if received.lines(body)
        }
    own = (tmp_path / "own.log").read_text().splitlines()
    assert {"job job begins", "job job ends"} <= set(own)
    assert [] == [
        line for line in [*own, *program.output().splitlines()] if "urllib3" in line or "/v1/logs" in line
    ]


def _is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("uvicorn_worker") is not None
