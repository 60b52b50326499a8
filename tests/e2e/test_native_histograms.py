"""A real Prometheus scrapes two instances by protobuf, and its quantiles over both are true."""

from __future__ import annotations

import math
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.apps.durations import AMOUNT, durations
from tests.e2e.backends import Prometheus, fetch, prometheus
from tests.e2e.launching import APPS, Launched, launched
from tests.endpoints.protobufs import families
from tests.waiting import until

pytestmark = [pytest.mark.backends, pytest.mark.e2e]

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


def scraping(instances: list[Launched]) -> dict[str, object]:
    targets = [instance.endpoints_url.removeprefix("http://") for instance in instances]
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": targets}]}],
    }


def base(instances: list[Launched]) -> float:
    """How much wider each bucket is than the one before, of the coarser of both."""
    schemas = []
    for instance in instances:
        status, page = fetch(f"{instance.endpoints_url}/metrics", headers={"accept": PROTOBUF})
        assert 200 == status
        found = {family.name: family for family in families(page)}
        schemas.append(found["bext_request_duration_ms_native"].metric[0].histogram.schema)
    return float(2**2.0 ** -min(schemas))


def single(server: Prometheus, expression: str) -> float:
    """The value of an expression that has one; NaN while it has none."""
    result = server.query(expression)
    return float(result[0]["value"][1]) if result else math.nan


def exact(values: list[float], quantile: float) -> float:
    return sorted(values)[math.ceil(quantile * len(values)) - 1]


def test_quantiles_over_two_instances_are_within_a_bucket_of_the_truth(tmp_path: Path) -> None:
    """Of everything, and of what was added between two scrapes. Summaries of two instances could not be added
    up at all."""
    with ExitStack() as stack:
        instances = [
            stack.enter_context(
                launched(
                    tmp_path / str(seed),
                    f"python {APPS / 'durations.py'} {seed}",
                    env={"OTEL_SERVICE_NAME": "shop"},
                )
            )
            for seed in (0, 1)
        ]
        for instance in instances:
            until(
                lambda instance=instance: fetch(f"{instance.endpoints_url}/metrics")[0] == 200,
                why=instance.output(),
            )
        server = stack.enter_context(prometheus(tmp_path, scraping(instances), native=True))
        first = durations(0) + durations(1)
        until(
            lambda: len(first) == single(server, "histogram_count(sum(bext_request_duration_ms_native))"),
            why="Prometheus to have both",
        )
        for quantile in (0.5, 0.9, 0.99):
            found = single(server, f"histogram_quantile({quantile}, sum(bext_request_duration_ms_native))")
            width = base(instances)
            assert exact(first, quantile) / width <= found <= exact(first, quantile) * width
        assert 2 == len(server.query('bext_request_duration_ms{quantile="0.99"} > 0')), (
            "what dashboards and rules read stays"
        )
        assert len(first) == single(server, "sum(bext_request_duration_ms_count)")
        assert sum(first) == pytest.approx(single(server, "sum(bext_request_duration_ms_sum)"))
        for instance in instances:
            instance.process.send_signal(signal.SIGUSR1)
        until(
            lambda: 4 * AMOUNT == single(server, "histogram_count(sum(bext_request_duration_ms_native))"),
            why="the second half to arrive",
        )
        second, width = durations(0, 10.0) + durations(1, 10.0), base(instances)
        found = single(server, "histogram_quantile(0.9, sum(increase(bext_request_duration_ms_native[1m])))")
        assert exact(second, 0.9) / width <= found <= exact(second, 0.9) * width
        for instance in instances:
            instance.process.send_signal(signal.SIGUSR1)
