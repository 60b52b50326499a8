"""One crash is one error line, with its app and the ids of its trace, whatever serves the application."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.launching import launched

pytestmark = pytest.mark.e2e

SERVERS = {
    "uvicorn": "uvicorn --port {port} crashing:bare_asgi",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} crashing:bare_asgi",
    "granian": "granian --interface asgi --port {port} crashing:bare_asgi",
    "gunicorn": "gunicorn -b 127.0.0.1:{port} crashing:bare_wsgi",
    "waitress": "waitress-serve --listen 127.0.0.1:{port} crashing:bare_wsgi",
    "django on gunicorn": "gunicorn -b 127.0.0.1:{port} crashing:django_wsgi",
    "django on uvicorn": "uvicorn --port {port} crashing:django_asgi",
    "django on waitress": "waitress-serve --listen 127.0.0.1:{port} crashing:django_wsgi",
    "flask on gunicorn": "gunicorn -k gthread -b 127.0.0.1:{port} crashing_frameworks:flask_app()",
    "quart on uvicorn": "uvicorn --port {port} --factory crashing_frameworks:quart_app",
    "blacksheep on uvicorn": "uvicorn --port {port} --factory crashing_frameworks:blacksheep_app",
    "cherrypy on gunicorn": "gunicorn -b 127.0.0.1:{port} crashing_frameworks:cherrypy_app()",
    "aiohttp": "python -m crashing_frameworks aiohttp {port}",
    "tornado": "python -m crashing_frameworks tornado {port}",
    "sanic": "python -m crashing_frameworks sanic {port}",
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_crash_is_one_error_line_with_app_and_ids(tmp_path: Path, server: str) -> None:
    env = {"OTEL_SERVICE_NAME": "shop"}
    with launched(tmp_path, SERVERS[server], env=env, path="/") as program:
        assert 500 == program.get("/boom").status_code
        told = program.completion("/boom")
        program.end()
        assert [told] == program.lines(level="error"), program.output()
        # What servers print of themselves at their start is theirs.
        others = [line for line in program.output().splitlines() if not line.startswith("{")]
        assert [] == [line for line in others if "Traceback" in line or "coffee" in line]
    assert ("shop", 500, "RuntimeError", "out of coffee") == (
        told["app"],
        told["status"],
        told["exception.type"],
        told["exception.message"],
    )
    assert [{"type": "RuntimeError", "message": "out of coffee"}] == told["exceptions"]
    assert "out of coffee" in told["exception.stacktrace"]
    assert (32, 16) == (len(told["trace_id"]), len(told["span_id"]))


def test_where_no_record_tells_of_requests_django_s_line_has_all_of_it(tmp_path: Path) -> None:
    env = {"OTEL_SERVICE_NAME": "shop", "BEXT_LOGGING_REQUESTS": "false"}
    with launched(tmp_path, SERVERS["django on gunicorn"], env=env, path="/") as program:
        program.get("/boom")
        program.end()
        (told,) = program.lines(level="error")
    assert ("django.request", "shop", "RuntimeError") == (told["target"], told["app"], told["exception.type"])
    assert 32 == len(told["trace_id"])


def test_in_a_file_what_a_framework_says_at_the_logs_api_is_told_once_too(tmp_path: Path) -> None:
    """FastAPI has an event for each unhandled exception, which goes on to OTLP."""
    file = tmp_path / "app.log"
    env = {"BEXT_LOGGING_OUTPUT": "stdout,file", "BEXT_LOGGING_FILE_PATH": str(file)}
    command = "uvicorn --port {port} --factory crashing_frameworks:fastapi_app"
    with launched(tmp_path, command, env=env, path="/") as program:
        program.get("/boom")
        told = program.completion("/boom")
        program.end()
        errors = [line for line in map(json.loads, file.read_text().splitlines()) if line["level"] == "error"]
    assert [told] == errors


def test_an_answer_of_the_application_s_own_leaves_no_exception_untold(tmp_path: Path) -> None:
    """Its line is left to the record of the request, which is written whatever the share that is told."""
    code = """
from crashing_frameworks import flask_app
app = flask_app()
app.register_error_handler(500, lambda error: ("sorry", 200))
"""
    (tmp_path / "handled.py").write_text(code)
    env = {"BEXT_LOGGING_ACCESS_SAMPLING": "0"}
    command = "gunicorn -b 127.0.0.1:{port} handled:app"
    with launched(tmp_path, command, env=env, path="/", first=(str(tmp_path),)) as program:
        assert 200 == program.get("/boom").status_code
        told = program.completion("/boom")
        program.end()
        assert [told] == [line for line in program.lines() if "exception.type" in line]
