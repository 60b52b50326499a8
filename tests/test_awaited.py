"""Instrumentors come with their libraries, not with the process."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bext_otel.awaited import awaited_module
from tests.fresh import fresh

_LAUNCHED = """
import sys
sys.path.insert(0, "")
from opentelemetry.instrumentation.auto_instrumentation import initialize
initialize()
"""


def test_each_of_ours_says_what_it_waits_for_but_for_those_of_the_standard_library() -> None:
    points = entry_points(group="opentelemetry_instrumentor")
    ours = {each.name for each in points if each.value.startswith("bext_otel")}
    assert {"bext_futures", "bext_threading"} == {name for name in ours if awaited_module(name) is None}


def test_an_instrumentor_that_nobody_has_named_waits_for_nothing() -> None:
    assert awaited_module("somebody_elses") is None


# What a program that is launched, and does nothing, does not import: each of these costs it milliseconds.
_UNUSED = (
    "bext_otel.cli",
    "bext_otel.endpoints.endpoints",
    "bext_otel.endpoints.formats",
    "bext_otel.endpoints.prometheus_registry",
    "bext_otel.endpoints.server",
    "bext_otel.endpoints.wsgi",
    "bext_otel.viewer",
    "bext_otel_instrumentors.cache",
    "bext_otel_instrumentors.celery",
    "bext_otel_instrumentors.compression",
    "bext_otel_instrumentors.dbos",
    "bext_otel_instrumentors.plugins",
    "cachetools",
    "celery",
    "concurrent.futures.process",
    "dbos",
    "difflib",
    "django",
    "google.protobuf",
    "grpc",
    "http.server",
    "httpx",
    "multiprocessing",
    "opentelemetry.exporter",
    "prometheus_client",
    "pygments",
    "requests",
    "rich",
    "sqlite3",
    "starlette",
    "structlog",
    "tomllib",
    "urllib3",
    "waitress",
)
_SERVING = """
import flask
app = flask.Flask("shop")
app.get("/")(lambda: "hello")
assert 200 == app.test_client().get("/").status_code
"""
# And neither does one that serves with Flask, whose own these are.
_FLASKS = ("click", "flask", "jinja2", "werkzeug")
# What opens with the first request.
_SERVERS = {
    "difflib",
    "http.server",
    "bext_otel.endpoints.endpoints",
    "bext_otel.endpoints.formats",
    "bext_otel.endpoints.server",
    "bext_otel.endpoints.wsgi",
}


@pytest.mark.parametrize(
    ("program", "unused"),
    [
        ("", (*_UNUSED, *_FLASKS)),
        (_SERVING, [name for name in _UNUSED if name not in _SERVERS]),
    ],
)
def test_a_program_imports_what_it_uses(tmp_path: Path, program: str, unused: list[str]) -> None:
    """Exporters are imported by what exports; these send nothing before they end."""
    shown, lines = fresh(
        f"""{_LAUNCHED}
{program}
names = {tuple(unused)!r}
show(sorted(name for name in sys.modules if name in names or name.startswith(tuple(f"{{name}}." for name in names))))
""",
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    assert [] == shown
    assert [] == [line for line in lines if line["level"] != "info"]


@pytest.mark.parametrize("first", ["import requests, httpx, flask, starlette.applications, fastapi", ""])
def test_an_instrumentor_is_active_when_its_library_is_imported_whoever_imports_which_first(
    tmp_path: Path, first: str
) -> None:
    """Upstream's imports its library, which is then imported in the middle of the instrumentor."""
    shown, lines = fresh(
        f"""{_LAUNCHED}
{first}
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
import flask, fastapi
instrumentors = HTTPXClientInstrumentor, RequestsInstrumentor, FlaskInstrumentor, StarletteInstrumentor
show([each().is_instrumented_by_opentelemetry for each in instrumentors])
""",
        tmp_path,
    )
    assert [True, True, True, True] == shown
    assert [] == lines


def test_one_that_fails_at_the_import_of_its_library_is_a_line_and_the_import_goes_on(tmp_path: Path) -> None:
    (tmp_path / "cachetools.py").write_text("value = 7\n")
    shown, (line,) = fresh(
        f"{_LAUNCHED}\nimport cachetools\nshow(cachetools.value)",
        tmp_path,
    )
    assert 7 == shown
    assert line["message"].startswith("instrumentation bext_cachetools is left out: AttributeError")
