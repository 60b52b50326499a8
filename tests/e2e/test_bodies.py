"""Bodies at trace, of servers that speak neither ASGI nor WSGI too."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import launched
from tests.waiting import until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("server", ["aiohttp", "tornado", "sanic"])
def test_what_a_server_of_its_own_reads_and_answers_is_told_without_secrets(
    tmp_path: Path, server: str
) -> None:
    settings = '[apps.shop]\nlog_bodies = true\nlog_level = "trace"\n'
    (tmp_path / "bext.config.toml").write_text(settings)
    env = {"OTEL_SERVICE_NAME": "shop", "BEXT_LOGGING_OUTPUT": "stdout"}
    command = f"python -m crashing_frameworks {server} {{port}}"
    with launched(tmp_path, command, env=env, path="/") as program:
        sent = {"token": "hunter2", "tea": 2}
        answer = httpx.post(f"{program.url}/body", json=sent, trust_env=False, timeout=20)
        assert {"got": sent, "password": "hunter2"} == answer.json()
        (told,) = until(
            lambda: program.lines(message="request bodies", path="/body"), why=lambda: program.output()
        )
        assert ("trace", '{"token":"REDACTED[name]","tea":2}') == (told["level"], told["request_body"])
        assert '"password":"REDACTED[name]"' in told["response_body"]
        assert "hunter2" not in program.output()


@pytest.mark.parametrize("server", ["aiohttp", "tornado", "sanic"])
def test_nobody_is_told_of_bodies_who_does_not_ask(tmp_path: Path, server: str) -> None:
    (tmp_path / "bext.config.toml").write_text('[apps.shop]\nlog_level = "trace"\n')
    env = {"OTEL_SERVICE_NAME": "shop", "BEXT_LOGGING_OUTPUT": "stdout"}
    command = f"python -m crashing_frameworks {server} {{port}}"
    with launched(tmp_path, command, env=env, path="/") as program:
        httpx.post(f"{program.url}/body", json={"tea": 2}, trust_env=False, timeout=20)
        program.completion("/body")
        assert [] == program.lines(message="request bodies")
