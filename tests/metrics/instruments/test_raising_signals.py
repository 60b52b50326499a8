"""Signal handlers that raise while an application's own instrument measures, or makes a series."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams
from tests.metrics.store.test_raising_signals import in_a_thread, interrupted


@pytest.mark.parametrize("views", [(), (View(instrument_name="*", attribute_keys={"kind", "n"}),)])
@pytest.mark.parametrize("form", ["text", "number", "list", "bare"])
@in_a_thread
def test_no_completed_measurement_is_lost_and_none_counts_twice(
    streams: Streams, form: str, views: tuple[View, ...]
) -> None:
    provider = BextMeterProvider(streams, Resource({}), views=views, scope_labels=False, series_limit=50)
    meter = provider.get_meter("shop")
    counter, histogram = meter.create_counter("orders"), meter.create_histogram("wait")
    completed = raised = at = 0
    whole = 0
    while whole < 2:  # until the work is shorter than that
        at += 1
        made: dict[str, Any] = {
            "text": {"kind": "tea", "n": str(at)},
            "number": {"n": at},
            "list": {"n": [at]},
            "bare": {},
        }

        def work(attributes: dict[str, Any] = made[form]) -> None:
            nonlocal completed
            counter.add(1, attributes)
            histogram.record(1, attributes)
            completed += 1

        if interrupted(at, work):
            raised += 1
            whole = 0
        else:
            whole += 1
        if at % 7 == 0:
            streams.drain()
    work()
    streams.drain()
    orders, waits = provider.instruments.families()
    counts = [
        sum(point.value for point in orders.points),  # type: ignore[misc]  # numbers
        sum(point.value.count for point in waits.points),  # type: ignore[union-attr]  # histograms
    ]
    assert all(completed <= count <= completed + raised for count in counts)
    labels = [point.series.sorted_text for point in orders.points]
    assert len(set(labels)) == len(labels)
    assert raised > 20
    provider.shutdown()
