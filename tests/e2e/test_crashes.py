"""One crash is one error line, with its app and the ids of its trace, whatever serves the application."""

from __future__ import annotations

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
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_crash_is_one_error_line_with_app_and_ids(tmp_path: Path, server: str) -> None:
    env = {"OTEL_SERVICE_NAME": "shop"}
    with launched(tmp_path, SERVERS[server], env=env, path="/") as program:
        assert 500 == program.get("/boom").status_code
        told = program.completion("/boom")
        program.end()
        assert [told] == program.lines(level="error"), program.output()
        assert [] == [line for line in program.output().splitlines() if not line.startswith("{")]
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
