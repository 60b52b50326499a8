"""What tests of caches ask of the telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from opentelemetry import context

from bext_otel.apps import with_app
from bext_otel.catalogue import CACHE_EVICTIONS, CACHE_HITS, CACHE_INVALIDATIONS, CACHE_MISSES, Metric
from bext_otel_instrumentors.cache import log as _cache_log
from tests.instrumentors.conftest import Telemetry, instrumenting


def flask_caching_or_skip() -> Any:
    """The library, in a version that is instrumented."""
    try:
        found = tuple(map(int, version("Flask-Caching").split(".")[:2]))
    except PackageNotFoundError:
        found = (0,)
    if found < (2, 5):
        pytest.skip("Flask-Caching from 2.5 on needs Python 3.11", allow_module_level=True)
    return import_module("flask_caching")


@contextmanager
def app(name: str = "shop"):
    """The body is work of an app."""
    token = context.attach(with_app(name))
    try:
        yield
    finally:
        context.detach(token)


def cached_by(kind: Any, **options: Any) -> Any:
    """A fixture: caches are instrumented, and used by an app."""

    @pytest.fixture
    def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
        _cache_log._paces.clear()
        with instrumenting(kind, skip_dep_check=True, **options), app():
            yield telemetry

    return instrumented


def lookups(telemetry: Telemetry, layer: str, app: str = "shop") -> tuple[int, int]:
    """Hits and misses of a layer."""
    return telemetry.counts(CACHE_HITS).get((app, layer), 0), telemetry.counts(CACHE_MISSES).get(
        (app, layer), 0
    )


def evictions(telemetry: Telemetry) -> int:
    return sum(telemetry.counts(CACHE_EVICTIONS).values())


def invalidations(telemetry: Telemetry) -> dict[str, int]:
    """Entries dropped, by what selected them."""
    return {labels[1]: value for labels, value in telemetry.counts(CACHE_INVALIDATIONS).items()}


def gauges(telemetry: Telemetry, metric: Metric) -> dict[tuple[Any, ...], float]:
    return {labels: point.value for labels, point in telemetry.points(metric).items()}


def names(telemetry: Telemetry) -> list[str]:
    return [span.name for span in telemetry.spans()]


def records(telemetry: Telemetry, body: str) -> list[dict[str, Any]]:
    """Attributes of the log records that say `body`."""
    return [
        dict(data.log_record.attributes)
        for data in telemetry._records.get_finished_logs()
        if data.log_record.body == body
    ]
