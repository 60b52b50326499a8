from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cachetools
import pytest
from opentelemetry import _logs
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource

from bext_otel.catalogue import CACHE_DURATION
from bext_otel.config import AppSettings, LoggingSettings
from bext_otel.logs.install import build_provider, install
from bext_otel_instrumentors.cache import log as _cache_log
from bext_otel_instrumentors.cache.cachetools.instrumentor import CachetoolsInstrumentor
from bext_otel_instrumentors.cache.calls import loading
from bext_otel_instrumentors.cache.drops import evicted, invalidated, invalidating
from bext_otel_instrumentors.cache.lookups import looked_up, stored
from tests.instrumentors.caching import app, evictions, invalidations, lookups, names, records
from tests.instrumentors.conftest import Telemetry
from tests.waiting import until


@pytest.fixture(autouse=True)
def paces() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    """Nothing waits to be told."""
    with _cache_log._lock:
        if _cache_log._timer is not None:
            _cache_log._timer.cancel()
        _cache_log._timer = None
        _cache_log._paces.clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be told waits a twentieth of a second."""
    monkeypatch.setattr(_cache_log, "_TELL_EVERY_SECONDS", 0.05)


def entries(telemetry: Telemetry, body: str, cache: str = "pages") -> list[int]:
    return [record["entries"] for record in records(telemetry, body) if record["cache"] == cache]


@pytest.fixture
def chain(
    monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry, tmp_path: Any
) -> Iterator[Callable[[], list[Any]]]:
    """Logging at info, and at debug for one app; what is exported."""
    exporter, config = (
        InMemoryLogRecordExporter(),
        LoggingSettings(output="file", file_path=str(tmp_path / "log")),
    )
    provider = build_provider(config, Resource({}), exporter)
    installed = install(config, provider, apps={"api": AppSettings(log_level="debug"), "shop": AppSettings()})
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)

    def exported() -> list[Any]:
        provider.force_flush()
        return [
            (data.log_record.body, data.log_record.attributes["app"]) for data in exporter.get_finished_logs()
        ]

    yield exported
    installed.remove()
    provider.shutdown()


@pytest.mark.parametrize("order", [("shop", "api"), ("api", "shop")])
def test_each_app_has_its_own_level(chain: Callable[[], list[Any]], order: tuple[str, str]) -> None:
    """Whichever app comes first, its answer is not the other's."""
    for name in (*order, *order):
        with app(name):
            looked_up("isr", True, "pages")
    assert [("cache hit", "api")] * 2 == chain()


def test_answers_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache_log, "_MAX_ANSWERS", 3)
    for number in range(20):
        with app(f"app-{number}"):
            looked_up("isr", False, "pages")
    assert len(_cache_log._answers) <= 3
    assert 20 == len(records(telemetry, "cache miss"))


def test_the_end_of_a_flood_is_told(telemetry: Telemetry, quick: None) -> None:
    for _ in range(50):
        evicted("isr", "pages", started_ns=1)
    until(lambda: sum(entries(telemetry, "cache evicted")) == 50, why="every eviction to be told")
    assert 1 == entries(telemetry, "cache evicted")[0]
    until(lambda: _cache_log._timer is None, why="the timer to end")


def test_each_cache_of_a_layer_is_told_for_itself(telemetry: Telemetry, quick: None) -> None:
    for cache in ("pages", "parts"):
        for _ in range(3):
            evicted("isr", cache, started_ns=1)
    for cache in ("pages", "parts"):
        until(
            lambda cache=cache: sum(entries(telemetry, "cache evicted", cache)) == 3,
            why=f"the evictions of {cache} to be told",
        )
        assert 1 == entries(telemetry, "cache evicted", cache)[0]


def test_nothing_waits_where_nothing_is_left_out(telemetry: Telemetry) -> None:
    evicted("isr", "pages", started_ns=1)
    invalidated("isr", "path", "pages", started_ns=1)
    assert _cache_log._timer is None
    assert [1] == entries(telemetry, "cache evicted") == entries(telemetry, "cache invalidated")


def test_the_rest_is_told_when_the_process_ends(telemetry: Telemetry) -> None:
    for _ in range(5):
        evicted("isr", "pages", started_ns=1)
    _cache_log._tell_all()
    assert [1, 4] == entries(telemetry, "cache evicted")


def test_paces_are_bounded_and_lose_no_entry(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache_log, "_MAX_PACES", 2)
    for number in range(7):
        for _ in range(3):
            evicted("isr", f"cache-{number}", started_ns=1)
    assert len(_cache_log._paces) <= 2
    _cache_log._tell_all()
    assert 21 == sum(record["entries"] for record in records(telemetry, "cache evicted"))


def test_a_thread_that_cannot_start_is_no_failure(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of an interpreter; the rest is told with the next line, or at exit."""

    def refuse(timer: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Timer.start", refuse)
    for _ in range(3):
        evicted("isr", "pages", started_ns=1)
    assert _cache_log._timer is None
    assert 3 == evictions(telemetry)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns of forks beside threads")
def test_a_forked_child_does_not_tell_what_its_parent_tells(telemetry: Telemetry) -> None:
    for _ in range(3):
        evicted("isr", "pages", started_ns=1)
    child = os.fork()
    if not child:
        clean = not _cache_log._paces and _cache_log._timer is None
        os._exit(0 if clean else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert _cache_log._paces


def test_an_invalidation_around_a_body_that_raises_says_what_it_dropped(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    def drop() -> None:
        invalidated("isr", "path", "pages", started_ns=1, entries=3)
        raise LookupError("half done")

    with app(), pytest.raises(LookupError, match="half done"), invalidating("tag"):
        drop()
    (span,) = telemetry.spans()
    assert (3, "isr", "LookupError") == tuple(
        span.attributes[name] for name in ("bext.entries", "bext.layer", "error.type")
    )
    assert {"tag": 3} == invalidations(telemetry)
    assert [] == caplog.messages


def test_nothing_is_told_where_instrumentation_is_suppressed(telemetry: Telemetry) -> None:
    with app(), suppress_instrumentation():
        looked_up("isr", True, "pages", seconds=1)
        stored("isr", 1)
        evicted("isr", "pages", started_ns=1)
        invalidated("isr", "path", "pages", started_ns=1)
        with loading("isr", "page"):
            pass
        with invalidating("tag"):
            invalidated("isr", "path", "pages", started_ns=1)
    assert (0, 0) == lookups(telemetry, "isr")
    assert {} == telemetry.counts(CACHE_DURATION) == invalidations(telemetry)
    assert [] == names(telemetry) == records(telemetry, "cache evicted")


def test_a_library_too_is_silent_where_instrumentation_is_suppressed(telemetry: Telemetry) -> None:
    CachetoolsInstrumentor().instrument(layers={"LRUCache": "isr"}, skip_dep_check=True)
    try:
        cache = cachetools.LRUCache(1)
        with app(), suppress_instrumentation():
            cache["a"] = 1
            cache["b"] = 2
            assert [None, 2] == [cache.get("a"), cache["b"]]
            cache.clear()
    finally:
        CachetoolsInstrumentor().uninstrument()
    assert (0, 0) == lookups(telemetry, "isr")
    assert [] == names(telemetry)
