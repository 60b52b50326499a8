"""The conventions' own metrics of bodies, for who asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.specification.programs import attributes, running

PROGRAM = """
import bext_otel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

async def page(request):
    await request.body()
    if "fail" in request.query_params:
        raise LookupError("sold out")
    return PlainTextResponse("tea" * 100)

runs = bext_otel.configure(metrics={"body_sizes": ASKED})
client = TestClient(Starlette(routes=[Route("/tea/{kind}", page, methods=["POST"])]), raise_server_exceptions=False)
client.post("/tea/green", content=b"x" * 70)
client.post("/tea/green?fail=1", content=b"")
runs.shutdown()
show(None)
"""


@pytest.mark.parametrize("asked", [True, False])
def test_bodies_are_measured_by_the_conventions_where_that_is_asked_for(tmp_path: Path, asked: bool) -> None:
    with running(PROGRAM.replace("ASKED", str(asked)), tmp_path) as run:
        found: dict[str, list[Any]] = {}
        for message in run.messages:
            for resource in getattr(message, "resource_metrics", ()):
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name.endswith(".body.size"):
                            found[metric.name] = [metric.unit, list(metric.histogram.data_points)]
    if not asked:
        assert {} == found
        return
    common = {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/tea/{kind}",
        "network.protocol.version": "1.1",
    }
    answered = {**common, "http.response.status_code": 200}
    failed = {**common, "http.response.status_code": 500, "error.type": "LookupError"}
    for side, sizes in (("request", (70, 0)), ("response", (300, 21))):
        unit, points = found[f"http.server.{side}.body.size"]
        assert "By" == unit
        told = {tuple(sorted(attributes(point.attributes).items())): point.sum for point in points}
        expected = (tuple(sorted(answered.items())), tuple(sorted(failed.items())))
        assert dict(zip(expected, sizes, strict=True)) == told
