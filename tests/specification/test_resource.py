"""The specification's rows on resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from tests.fresh import fresh
from tests.specification.programs import Run, attributes, running

PROGRAM = """
import bext_otel
from opentelemetry import _logs, metrics, trace
runs = bext_otel.configure(resource={"shop.shelf": "4"})
trace.get_tracer("shop").start_span("work").end()
_logs.get_logger("shop").emit(body="sold")
metrics.get_meter("shop").create_counter("sold").add(1)
runs.flush()
runs.shutdown()
show(dict(trace.get_tracer_provider().resource.attributes))
"""


def resources(run: Run) -> list[Any]:
    """Of each message."""
    kinds = ("resource_spans", "resource_logs", "resource_metrics")
    return [each for message in run.messages for kind in kinds for each in getattr(message, kind, ())]


def kinds(run: Run) -> set[str]:
    return {type(message).__name__ for message in run.messages}


@pytest.mark.specification("Resource", "Create from Attributes", "Retrieve attributes", "Create empty")
@pytest.mark.specification("Environment Variables", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME")
def test_every_signal_has_the_resource_that_is_asked_for(tmp_path: Path) -> None:
    with running(
        PROGRAM,
        tmp_path,
        OTEL_RESOURCE_ATTRIBUTES="service.name=passed%20over,shop.city=K%C3%B6ln",
        OTEL_SERVICE_NAME="shop",
    ) as run:
        found = [attributes(each.resource.attributes) for each in resources(run)]
    assert 3 == len(kinds(run))
    for each in found:
        assert ("4", "Köln", "shop") == (each["shop.shelf"], each["shop.city"], each["service.name"])
    assert "4" == run.shown["shop.shelf"]
    assert {} == dict(Resource.get_empty().attributes)


@pytest.mark.specification("Resource", "Merge (v2)")
def test_the_updating_resource_wins_and_a_schema_that_conflicts_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, new = Resource({"a": "1", "b": "1"}, "https://schema/1"), Resource({"b": "2"}, "https://schema/2")
    assert {"a": "1", "b": "2"} == dict(old.merge(Resource({"b": "2"})).attributes)
    assert "https://schema/1" == old.merge(Resource({"b": "2"})).schema_url
    old.merge(new)
    assert "https://schema/1" in caplog.text


@pytest.mark.specification("Resource", "Default value for service.name")
def test_a_service_without_a_name_says_so(tmp_path: Path) -> None:
    with running(PROGRAM, tmp_path) as run:
        names = {attributes(each.resource.attributes)["service.name"] for each in resources(run)}
    assert 3 == len(kinds(run))
    assert 1 == len(names)
    assert next(iter(names)).startswith("unknown_service:python")


@pytest.mark.specification(
    "Resource", "Resource detector interface/mechanism", "Resource detectors populate Schema URL"
)
def test_a_detector_of_a_package_s_is_asked_and_its_schema_arrives(tmp_path: Path) -> None:
    package = tmp_path / "shelves-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shelves\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_resource_detector]\nshelves = shelves:Shelves\n"
    )
    (tmp_path / "shelves.py").write_text(
        "from opentelemetry.sdk.resources import Resource, ResourceDetector\n"
        "class Shelves(ResourceDetector):\n"
        "    def detect(self):\n"
        "        return Resource({'shop.shelves': 7}, 'https://schema/shelves')\n"
    )
    with running(
        PROGRAM, tmp_path, OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="shelves", PYTHONPATH=str(tmp_path)
    ) as run:
        found = [
            (attributes(each.resource.attributes)["shop.shelves"], each.schema_url) for each in resources(run)
        ]
    assert 3 == len(kinds(run))
    assert {(7, "https://schema/shelves")} == set(found)


@pytest.mark.specification("Environment Variables", "OTEL_SDK_DISABLED")
@pytest.mark.parametrize(("value", "recording"), [("TRUE", False), ("false", True), ("1", True)])
def test_disabled_telemetry_makes_nothing_of_any_signal_and_propagates(
    tmp_path: Path, value: str, recording: bool
) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        from opentelemetry import _logs, metrics, propagate, trace
        bext_otel.configure()
        span = trace.get_tracer("shop").start_span("s")
        context = propagate.extract({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})
        show([span.is_recording(), _logs.get_logger("shop").enabled(), f"{trace.get_current_span(context).get_span_context().span_id:x}"])
        """,
        tmp_path,
        OTEL_SDK_DISABLED=value,
    )
    assert [recording, recording, "2" * 16] == shown
