"""What a scrape of many counter series costs, collection included, every series changed since the last one: ours beside upstream's reader.

`python -m benchmarks.scrape`. Ours may reuse label text between scrapes, never values; so may upstream's, which does not.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

from benchmarks.interleaved import compare, contestant_loop

Work = Callable[[int], object]


def _label_sets(series: int) -> list[dict[str, str]]:
    return [
        {"app": f"app-{index % 50}", "method": ("GET", "POST")[index % 2], "status": str(200 + index % 5), "route": f"/route/{index // 50}"}
        for index in range(series)
    ]


def _ours(series: int) -> Work:
    from bext_otel.apps import Budgets
    from bext_otel.catalogue import REQUESTS
    from bext_otel.faces import text
    from bext_otel.pipeline.reading import Reading
    from bext_otel.pipeline.streams import Streams

    streams = Streams(Budgets({"app": series, "route": series}))
    reading = Reading(streams, include_process=False)
    reading.stop()
    handles = [streams.stream(REQUESTS).cell(labels).add for labels in _label_sets(series)]
    for add in handles:
        add(1)
    text.render(reading.snapshot())
    return _work(handles, lambda: text.render(reading.snapshot()), series)


def _upstream(series: int) -> Work:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import REGISTRY, generate_latest

    meter = MeterProvider(metric_readers=[PrometheusMetricReader()]).get_meter("bench")
    counter = meter.create_counter("bext_requests")
    label_sets = _label_sets(series)
    handles = [lambda amount, labels=labels: counter.add(amount, labels) for labels in label_sets]
    for add in handles:
        add(1)
    return _work(handles, lambda: generate_latest(REGISTRY), series)


def _work(handles: list[Callable[[float], None]], scrape: Callable[[], bytes], series: int) -> Work:
    """Each time: change every series, then scrape. The changes are not the scrape's cost, so they are told apart by their sign."""

    def work(times: int) -> None:
        for _ in range(abs(times)):
            for add in handles:
                add(1)
            if times > 0:
                answer = scrape()
                assert answer.count(b"\nbext_requests_total{") >= series - 1

    return work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        side, series = arguments.contestant.split("-")
        contestant_loop({"bext": _ours, "upstream": _upstream}[side](int(series)))
        return
    names = [f"{side}-{arguments.series}" for side in ("bext", "upstream")]
    both = compare("benchmarks.scrape", names, rounds=arguments.rounds, times=1)
    changes = compare("benchmarks.scrape", names, rounds=arguments.rounds, times=-1)
    shares = []
    for ours, theirs, our_changes, their_changes in zip(*both.values(), *changes.values(), strict=True):
        shares.append((ours + our_changes) / (theirs + their_changes))
    for name in names:
        scrape = statistics.median(both[name]) + statistics.median(changes[name])
        print(f"{name:20} {scrape / 1e3:9.1f} ms of CPU a scrape (median of {arguments.rounds} rounds)")
    print(f"scrape: {statistics.median(shares):.3f} of upstream's (min {min(shares):.3f}, max {max(shares):.3f}; target 0.35)")


if __name__ == "__main__":
    main()
