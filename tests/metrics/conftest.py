"""A reading of its own for each test, with a clock that stands still."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from bext_otel.apps import Budgets
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from bext_otel.testing import Clock


@pytest.fixture
def monotonic() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def streams(bext_clock: Clock, monotonic: Clock) -> Streams:
    return Streams(Budgets({}), clock=bext_clock, monotonic=monotonic)


@pytest.fixture
def reading(streams: Streams) -> Iterator[SnapshotReader]:
    made = SnapshotReader(streams, include_process=False)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def upstream_loggers_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `listen_to_exporters` sets holds for one test."""
    monkeypatch.setattr(logging.getLogger("opentelemetry.exporter.otlp"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("opentelemetry.sdk._shared_internal"), "level", logging.NOTSET)
