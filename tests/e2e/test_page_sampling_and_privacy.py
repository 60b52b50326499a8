"""docs/sampling-and-privacy.md, done by what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import Line, Receiver, receiving
from tests.export.certificates import certificate, over_tls
from tests.pages import blocks, write_files
from tests.waiting import until

pytestmark = pytest.mark.e2e

PAGE = "sampling-and-privacy.md"
TLS, GATEWAY, SAMPLER = range(3)
DOCUMENTS = ("format=json", "format=openmetrics", "format=prometheus")


def exported(number: int) -> dict[str, str]:
    """The variables that a block of the page exports."""
    words = [word for line in blocks(PAGE, "sh")[number].splitlines() for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words if "=" in word)


def completed(received: Receiver, **expected: object) -> list[Line]:
    """The records of completed requests with these fields."""
    found = received.lines("request completed")
    return [line for line in found if expected.items() <= line.attributes.items()]


def test_telemetry_goes_over_tls_with_its_key_and_no_line_shows_that(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    made, key = certificate(tmp_path, "collector")
    with over_tls(made, key) as collector:
        env = {**SOON, **exported(TLS)}
        assert "https://localhost:4318" == env["OTEL_EXPORTER_OTLP_ENDPOINT"]
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"https://localhost:{collector.port}"
        Path(tmp_path / env["OTEL_EXPORTER_OTLP_CERTIFICATE"]).write_bytes(made.read_bytes())
        with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/docs") as shop:
            shop.get("/users/7")
            headers = until(lambda: collector.headers, why=shop.output)[0]
            assert ("s3cr3t", "tea") == (headers["api-key"], headers["x-tenant"])
            shown = (
                shop.output()
                + "".join(shop.endpoint(f"/metrics?{page}").text for page in DOCUMENTS)
                + shop.endpoint("/health").text
            )
            assert "s3cr3t" not in shown


def test_an_e_mail_address_leaves_by_no_door(tmp_path: Path) -> None:
    assert ["app.py", "bext.config.toml"] == write_files(PAGE, tmp_path)
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/docs") as shop:
            headers = {"Referer": "http://x/?m=carl@example.com", "User-Agent": "dora@example.com"}
            for to in ("bob%40example.com", "nobody@example.com"):
                url = f"{shop.url}/users/ann@example.com?to={to}"
                httpx.get(url, headers=headers, trust_env=False, timeout=20)
            shop.get("/nowhere/ann@example.com")
            access = tmp_path / "access.log"
            until(lambda: "/nowhere/" in access.read_text(), why="the last request's line")
            until(
                lambda: 3 <= len(received.spans(kind="server", network_protocol_version="1.1")), why="spans"
            )
            until(lambda: completed(received, status=500), why="the line of the one that failed")
            doors = {
                "lines": shop.output(),
                "OTLP": " ".join(str(message) for message in received.messages),
                "the access log": access.read_text(),
                **{page: shop.endpoint(f"/metrics?{page}").text for page in DOCUMENTS},
            }
    assert [] == [door for door, text in doors.items() if "@example" in text or "%40example" in text]
    assert {"lines", "OTLP", "the access log"} == {
        door for door, text in doors.items() if "REDACTED[pattern]" in text
    }
    assert "127.0.0.1 - -" not in doors["the access log"]


def test_a_tenth_at_the_source_thins_out_traces_and_nothing_else(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        env |= exported(SAMPLER)
        with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/docs") as shop:
            with httpx.Client(base_url=shop.url, trust_env=False, timeout=20) as client:
                for _ in range(200):
                    client.get("/users/7")
            name = 'bext_requests_total{app="shop",method="GET",status="200",route="/users/{address}"}'
            until(lambda: 200 == shop.metrics().get(name), why="200 requests, counted")
            until(lambda: 200 == len(completed(received, path="/users/7")), why="200 records")
            spans = received.spans(http_route="/users/{address}")
            assert 0 < len(spans) < 60
