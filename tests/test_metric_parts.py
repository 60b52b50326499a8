"""What an application brings for its metrics, and what its settings say of them."""

from __future__ import annotations

from pathlib import Path

from tests.fresh import fresh

PAGE = """
import bext_otel
from opentelemetry import metrics
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
reader = InMemoryMetricReader()
runs = bext_otel.configure(
    views=[View(instrument_name="orders", attribute_keys={"kind"})], metric_readers=[reader], %s
)
metrics.get_meter("shop", "1").create_counter("orders").add(2, {"kind": "tea", "customer": 7})
page = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
line = [line for line in page.splitlines() if line.startswith("orders_total")]
info = [line for line in page.splitlines() if line.startswith("target_info")]
runs.shutdown()
"""


def test_views_and_readers_are_given_to_configure(tmp_path: Path) -> None:
    code = (
        PAGE % ""
        + "data = reader.get_metrics_data()\n"
        + "show([line, data is None, 'host_name=' in info[0], 'telemetry_sdk_name=' in info[0]])\n"
    )
    expected = 'orders_total{kind="tea",otel_scope_name="shop",otel_scope_version="1"} 2'
    # The reader has been shut down with the rest, and is nobody's any more.
    assert ([[expected], True, True, True], []) == fresh(code, tmp_path)


def test_scopes_and_the_resource_are_told_as_the_settings_say(tmp_path: Path) -> None:
    settings = 'metrics={"scope_labels": False, "resource_labels": ["service.n*"]}, resource={"service.name": "till"}'
    code = PAGE % settings + "show([line, info])\n"
    assert ([['orders_total{kind="tea"} 2'], ['target_info{service_name="till"} 1']], []) == fresh(
        code, tmp_path
    )


def test_what_is_past_the_limit_is_told_with_what_telemetry_tells_of_itself(tmp_path: Path) -> None:
    code = """
        import bext_otel, json
        from opentelemetry import metrics
        runs = bext_otel.configure(metrics={"series_limit": 2})
        counter = metrics.get_meter("shop").create_counter("orders")
        for number in range(5):
            counter.add(1, {"customer": number})
        answer = runs.endpoints.reply("GET", "/metrics", "format=json", {}, trusted=True)
        show(json.loads(answer.body)["telemetry"]["metric_measurements_folded"])
        """
    assert 3 == fresh(code, tmp_path)[0]
