"""`OTEL_PYTHON_EXCLUDED_URLS`: one decision for span, metric, completion line and the server's access line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import receiving

pytestmark = pytest.mark.e2e

ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.parametrize("requests", ["true", "false"])
@pytest.mark.parametrize(
    ("command", "app"),
    [
        ("uvicorn --port {port} shop:app", ASGI),
        ("hypercorn --bind 127.0.0.1:{port} --access-logfile - shop:app", ASGI),
        ("gunicorn --bind 127.0.0.1:{port} --access-logfile - shop:app", WSGI),
        ("daphne --port {port} --access-log - shop:app", ASGI),
    ],
    ids=["uvicorn", "hypercorn", "gunicorn", "daphne"],
)
def test_what_is_excluded_is_told_nowhere(tmp_path: Path, command: str, app: str, requests: str) -> None:
    """A probe has no span, no metric, and no line, of nobody's; what is not excluded has all of them."""
    (tmp_path / "shop.py").write_text(app)
    with receiving() as received:
        env = {
            **SOON,
            "OTEL_PYTHON_EXCLUDED_URLS": "ready",
            "BEXT_LOGGING_REQUESTS": requests,
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_SERVICE_NAME": "shop",
        }
        with launched(tmp_path, command, env=env, path="/ready") as program:
            for path in ("/ready", "/ready", "/items"):
                assert 200 == program.get(path).status_code
            assert 200 == program.get("/ready").status_code
            received.span(kind="server", url_path="/items")
            counted = {
                name: n for name, n in program.metrics().items() if name.startswith("bext_requests_total")
            }
            assert [1] == list(counted.values())
            assert "/items" in program.output()
            assert "/ready" not in program.output()
            assert 1 == len(received.spans(kind="server"))
