"""Fields of our entries by the names that the conventions have registered, in OTLP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bext_otel.export.registered import registered
from tests.specification.programs import attributes, running


@pytest.mark.parametrize(
    ("scope", "fields", "names"),
    [
        (
            "bext.request",
            {"app": "shop", "method": "GET", "path": "/", "status": 200, "duration_ms": 1.5},
            {"http.request.method": "GET", "url.path": "/", "http.response.status_code": 200},
        ),
        (
            "bext.request",
            {"error_type": "KeyError", "exception.type": "shop.errors.KeyError"},
            {"error.type": "shop.errors.KeyError"},
        ),
        ("bext.flow", {"flow_name": "checkout", "error_type": "Late"}, {"error.type": "Late"}),
        ("bext.deploy", {"status": "failed"}, {}),
        ("shop", {"method": "pay", "status": 5}, None),
    ],
)
def test_only_fields_of_ours_have_names_that_are_registered(
    scope: str, fields: dict[str, Any], names: dict[str, Any] | None
) -> None:
    assert names == registered(scope, fields)


PROGRAM = """
import logging
import bext_otel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

def page(request):
    if "fail" in request.query_params:
        raise LookupError("sold out")
    return PlainTextResponse("tea")

runs = bext_otel.configure()
client = TestClient(Starlette(routes=[Route("/tea", page)]), raise_server_exceptions=False)
client.get("/tea")
client.get("/tea?fail=1")
logging.getLogger("shop").warning("priced", extra={"method": "guess", "status": 5})
runs.shutdown()
show(None)
"""


def test_a_line_keeps_its_names_and_otlp_has_both(tmp_path: Path) -> None:
    with running(PROGRAM, tmp_path) as run:
        completed = [
            attributes(record.attributes)
            for record, scope, _ in run.records()
            if scope.scope.name == "bext.request"
        ]
        theirs = attributes(run.record("priced").attributes)
    lines = [line for line in run.lines if line["message"] == "request completed"]
    for found, status in zip(completed, (200, 500), strict=True):
        expected = {"method": "GET", "path": "/tea", "status": status}
        names = {"http.request.method": "GET", "url.path": "/tea", "http.response.status_code": status}
        assert {**expected, **names}.items() <= found.items()
    assert ("LookupError", "LookupError") == (completed[1]["error.type"], completed[1]["error_type"])
    assert all("http.request.method" not in line and line["method"] == "GET" for line in lines)
    assert 2 == len(lines)
    assert "http.request.method" not in theirs
