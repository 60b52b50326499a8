"""docs/log-lines.md, done by what it says; and what a server tells of a crash."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import receiving
from tests.pages import write_files
from tests.waiting import until

pytestmark = pytest.mark.e2e


def test_the_lines_of_the_page(tmp_path: Path) -> None:
    assert ["app.py", "bext.config.toml"] == write_files("log-lines.md", tmp_path)
    env = {"OTEL_SERVICE_NAME": "shop"}
    with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/docs") as shop:
        answer = httpx.get(f"{shop.url}/basket", headers={"X-Tenant": "acme"}, trust_env=False, timeout=20)
        assert 200 == answer.status_code
        line = shop.completion("/basket")
        assert "acme" == line["tenant"]
        assert "step" not in line
        (shown,) = shop.lines(message="basket shown")
        assert ("acme", 3, line["trace_id"]) == (shown["tenant"], shown["items"], shown["trace_id"])
        (priced,) = shop.lines(message="priced")
        assert ("acme", "pricing") == (priced["tenant"], priced["step"])
        assert "tenant" not in shop.completion("/docs")
        httpx.post(f"{shop.url}/checkout", trust_env=False, timeout=20)
        assert "checkout" == shop.completion("/checkout")["app"]
        (debug,) = shop.lines(level="debug", target="shop")
        assert ("stock looked up", "checkout") == (debug["message"], debug["app"])
        # The file has what the terminal has.
        said = [line for line in shop.output().splitlines() if line.startswith("{")]
        file = tmp_path / "shop.log"
        until(lambda: set(said) <= set(file.read_text().splitlines()), why="the same lines in the file")


_CRASHING = """
import bext_otel
from fastapi import FastAPI
from opentelemetry import baggage

app = FastAPI()

@app.get("/")
def root():
    return {}

@app.get("/crash")
def crash():
    bext_otel.bind(tenant="acme")
    raise LookupError("gone")
"""


def test_what_the_server_tells_of_a_crash_has_them(tmp_path: Path) -> None:
    """Where no completion line tells of it."""
    (tmp_path / "app.py").write_text(_CRASHING)
    env = {"BEXT_LOGGING_REQUESTS": "false", "OTEL_SERVICE_NAME": "shop"}
    with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/") as shop:
        assert 500 == shop.get("/crash").status_code
        told = until(lambda: [line for line in shop.lines(level="error") if "LookupError" in str(line)])
        assert ["acme"] == [line.get("tenant") for line in told]


def test_baggage_that_the_operator_names_is_on_the_completion_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_CRASHING)
    env = {"BEXT_LOGGING_BAGGAGE": "tenant", "OTEL_SERVICE_NAME": "shop"}
    with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/") as shop:
        httpx.get(f"{shop.url}/x", headers={"baggage": "tenant=acme,other=1"}, trust_env=False, timeout=20)
        line = shop.completion("/x")
        assert ("acme", False) == (line["tenant"], "other" in line)


_TWO_LIBRARIES = """
import logging
import bext_otel
from fastapi import FastAPI
from loguru import logger

app = FastAPI()

@app.get("/")
def root():
    bext_otel.bind(tenant="acme")
    logger.bind(user="u1").info("by loguru")
    with bext_otel.bind(step="pricing"):
        logger.info("within")
        logging.getLogger("shop").warning("by logging")
    return {}
"""


def test_bound_fields_are_on_loguru_s_lines_and_on_records_that_are_exported(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_TWO_LIBRARIES)
    expected = {
        "by loguru": {"tenant": "acme", "user": "u1"},
        "within": {"tenant": "acme", "step": "pricing"},
        "by logging": {"tenant": "acme", "step": "pricing"},
        "request completed": {"tenant": "acme"},
    }
    with receiving() as received:
        env = {**SOON, "OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, "uvicorn app:app --port {port}", env=env, path="/") as shop:
            shop.completion("/")
            for message, fields in expected.items():
                (line,) = shop.lines(message=message)[:1]
                (record,) = until(lambda message=message: received.lines(message), why=message)[:1]
                for found in (line, record.attributes):
                    assert fields == {
                        name: found[name] for name in ("tenant", "user", "step") if name in found
                    }
