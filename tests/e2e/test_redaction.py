"""Redaction and bodies in a program as its users start it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import receiving

pytestmark = pytest.mark.e2e

APPLICATION = """
import logging

log = logging.getLogger("shop")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    message = await receive()
    log.warning("customer cust-12345678 pays", extra={"app_id": "x1", "password": "hunter2"})
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": message.get("body") or b"{}"})
"""
SETTINGS = """
[redaction]
names = ["app_id", 7]
patterns = ["cust-[0-9]{8}", "("]
callback = "no.such:thing"

[apps.shop]
paths = ["/"]
log_level = "trace"
log_bodies = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "paying.py").write_text(APPLICATION)
    (tmp_path / "bext.config.toml").write_text(SETTINGS)
    return tmp_path


def test_what_is_wrong_is_one_line_each_and_the_rest_holds_in_lines_and_otlp(folder: Path) -> None:
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "PYTHONPATH": str(folder)}
        command = "uvicorn --port {port} paying:app"
        with launched(folder, command, env=env, first=(str(folder),)) as program:
            body = {"card": "4111111111111111", "n": 1, "who": "cust-12345678"}
            answer = program.get("/pay/4111111111111111?code=hunter2", headers={"x": "1"})
            assert 200 == answer.status_code
            posted = httpx.post(f"{program.url}/pay", json=body, trust_env=False, timeout=20)
            assert body == posted.json()
            program.completion("/pay")
            received.span(kind="server", url_path="/pay")
            program.end()
        said = [json.dumps(line) for line in program.lines() if "[redaction]" in json.dumps(line)]
        assert 3 == len(said), program.output()
        for word in ("names[1]", "patterns", "callback"):
            assert 1 == sum(word in line for line in said)
        (told,) = program.lines(message="request bodies", path="/pay")
        assert "trace" == told["level"]
        assert {"card": "REDACTED[name]", "n": 1, "who": "REDACTED[pattern]"} == json.loads(
            told["request_body"]
        )
        paid = program.lines(target="shop")[-1]
        assert ("REDACTED[name]", "REDACTED[name]") == (paid["app_id"], paid["password"])
        assert "customer REDACTED[pattern] pays" == paid["message"]
        for secret in ("hunter2", "4111111111111111", "cust-12345678"):
            assert secret not in program.output()
            assert secret not in str(received.lines("customer REDACTED[pattern] pays"))
            assert secret not in str([span.attributes for span in received.spans()])
