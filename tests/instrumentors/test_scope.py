"""Whatever is ours says so: with our version, and the conventions that it follows."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from bext_otel.catalogue import CACHE_HITS
from bext_otel.deploys import deploy
from bext_otel.flows import flow, step
from bext_otel.operation import count
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask

SAID = (version("bext-otel"), "https://opentelemetry.io/schemas/1.44.0")


async def fail(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError


def test_spans_metrics_and_records_carry_version_and_schema(telemetry: Telemetry) -> None:
    with pytest.raises(LookupError):
        ask(ASGIMiddleware(fail))
    with pytest.raises(LookupError), flow("checkout"), step("charge"):
        raise LookupError
    with deploy("shop", "1") as d, d.step("migrate"):
        count(CACHE_HITS, app="shop", layer="isr")
    scopes = [span.instrumentation_scope for span in telemetry.spans()]
    scopes += [data.instrumentation_scope for data in telemetry.records()]
    scopes += telemetry.metric_scopes()
    names = {scope.name for scope in scopes if scope is not None}
    assert {"bext_otel", "bext.request", "bext.flow", "bext.deploy"} == names
    assert {SAID} == {(scope.version, scope.schema_url) for scope in scopes if scope is not None}
