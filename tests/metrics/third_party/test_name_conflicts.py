from __future__ import annotations

from collections.abc import Iterator

import prometheus_client
import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY

from bext_otel.apps import Budgets
from bext_otel.catalogue import REQUESTS
from bext_otel.endpoints.formats import text
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party import name_conflicts as rivals
from bext_otel.metrics.third_party.prometheus_client import registered
from bext_otel.once import Once


@pytest.fixture(autouse=True)
def nothing_was_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "_once", Once(1000))


@pytest.fixture
def natives() -> Iterator[list[prometheus_client.Counter]]:
    made = [
        prometheus_client.Counter(name, "Native.")
        for name in ("rival_jobs", "bext_requests", "rival_wait_count", "alone")
    ]
    yield made
    for one in made:
        REGISTRY.unregister(one)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_first_of_one_name_is_shown_and_the_other_told_of_once(
    openmetrics: bool, natives: list[prometheus_client.Counter], caplog: pytest.LogCaptureFixture
) -> None:
    """The catalogue's before another instrument's, and that before one of `prometheus_client`."""
    provider = BextMeterProvider(Streams(Budgets({})), Resource({}))
    reading = SnapshotReader(
        provider.streams, provider.instruments, registered=registered, include_process=False
    )
    reading.stop()
    provider.streams.stream(REQUESTS).cell(
        {"app": "shop", "method": "GET", "status": "200", "route": "/"}
    ).add(3)
    meter = provider.get_meter("some.library")
    meter.create_counter("rival.jobs").add(2)
    meter.create_histogram("rival.wait.count.total").record(1)
    for native in natives:
        native.inc(9)
    for _ in range(2):
        page = text.render(reading.snapshot(), openmetrics=openmetrics).decode()
    shown = {
        line.rpartition(" ")[0].partition("{")[0]: line.rpartition(" ")[2]
        for line in page.splitlines()
        if not line.startswith("#")
    }
    assert ("3", "2", "9") == (shown["bext_requests_total"], shown["rival_jobs_total"], shown["alone_total"])
    assert "1" == shown["rival_wait_count_total_count"]
    assert [
        f"metric {name} is left out of /metrics, since {holder} has its name there: rename one of the two"
        for name, holder in (
            ("rival_jobs_total", "an OpenTelemetry instrument"),
            ("rival_wait_count_total", "an OpenTelemetry instrument"),
            ("bext_requests_total", "one of the catalogue"),
        )
    ] == [message for message in caplog.messages if "left out" in message]
    provider.shutdown()


def test_what_is_remembered_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rivals, "_once", Once(3))
    for number in range(10):
        rivals.log_left_out(f"m{number}", of=rivals.OUR_PAGE, holder="another")
    assert 3 == len(caplog.messages) == len(rivals._once)
