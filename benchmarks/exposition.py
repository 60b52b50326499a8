"""What scrapes cost, collection included, every series changed since the last one: ours beside upstream's
reader and prometheus_client.

`python -m benchmarks.exposition`. Ours may reuse label text between scrapes, never values; so may the others,
which do not.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence

from benchmarks.interleaved import compare, contestant_loop

Work = Callable[[int], object]

# Records of a duration between two scrapes: a busy one.
_RECORDS = 10


def _label_sets(series: int) -> list[dict[str, str]]:
    return [
        {
            "app": f"app-{index % 50}",
            "method": ("GET", "POST")[index % 2],
            "status": str(200 + index % 5),
            "route": f"/route/{index // 50}",
        }
        for index in range(series)
    ]


def _work(
    handles: Sequence[Callable[[float], None]],
    amounts: Sequence[float],
    scrape: Callable[[], bytes],
    sign: bytes,
) -> Work:
    """Each time: change every series, then scrape. The changes alone, which are not its cost, for a negative
    number of times."""

    def work(times: int) -> None:
        for _ in range(abs(times)):
            for amount in amounts:
                for add in handles:
                    add(amount)
            if times > 0:
                assert scrape().count(sign) >= len(handles) - 1

    work(1)
    return work


def _bext(series: int, kind: str) -> Work:
    from bext_otel.apps import Budgets
    from bext_otel.catalogue import REQUEST_DURATION, REQUESTS
    from bext_otel.endpoints.formats import text
    from bext_otel.metrics.reader import SnapshotReader
    from bext_otel.metrics.store.streams import Streams

    streams = Streams(Budgets({"app": series, "route": series}))
    reading = SnapshotReader(streams, include_process=False)
    reading.stop()
    row = REQUESTS if kind == "counters" else REQUEST_DURATION
    handles = [streams.stream(row).cell(labels).add for labels in _label_sets(series)]
    sign = b"\nbext_requests_total{" if kind == "counters" else b"\nbext_request_duration_ms_count{"
    return _work(handles, _amounts(kind), lambda: text.render(reading.snapshot()), sign)


def _upstream(series: int, kind: str) -> Work:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import REGISTRY, generate_latest

    meter = MeterProvider(metric_readers=[PrometheusMetricReader()]).get_meter("bench")
    write = (
        meter.create_counter("bext_requests").add
        if kind == "counters"
        else meter.create_histogram("bext_duration").record
    )
    handles = [lambda amount, labels=labels: write(amount, labels) for labels in _label_sets(series)]
    sign = b"\nbext_requests_total{" if kind == "counters" else b"\nbext_duration_count{"
    return _work(handles, _amounts(kind), lambda: generate_latest(REGISTRY), sign)


def _native(series: int, kind: str) -> Work:
    from prometheus_client import CollectorRegistry, Counter, generate_latest

    assert kind == "counters"
    registry = CollectorRegistry()
    counter = Counter("bext_requests", "Requests.", ["app", "method", "status", "route"], registry=registry)
    handles = [counter.labels(**labels).inc for labels in _label_sets(series)]
    return _work(handles, _amounts(kind), lambda: generate_latest(registry), b"\nbext_requests_total{")


def _amounts(kind: str) -> Sequence[float]:
    draw = random.Random(1)
    return (1,) if kind == "counters" else [draw.lognormvariate(2, 1.35) for _ in range(_RECORDS)]


def memory(series: int) -> float:
    """Bytes for a counter series that changes in every step of the rate window: cell, labels, text of the
    page, and what rates need.

    Label values are not counted: they are strings that the application holds.
    """
    from bext_otel.apps import Budgets
    from bext_otel.catalogue import REQUESTS
    from bext_otel.endpoints.formats import text
    from bext_otel.metrics.reader import SnapshotReader
    from bext_otel.metrics.store.streams import Streams

    label_sets, now = _label_sets(series), [time.monotonic()]
    streams = Streams(Budgets({"app": series, "route": series}), monotonic=lambda: now[0])
    reading = SnapshotReader(streams, include_process=False)
    reading.stop()
    text.render(reading.snapshot())
    tracemalloc.start()
    for _ in range(15):
        now[0] += 5.0
        for labels in label_sets:
            streams.stream(REQUESTS).cell(labels).add(1000)
        text.render(reading.snapshot())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / series


def compared(kind: str, series: int, others: dict[str, float], rounds: int) -> None:
    """Measure and print; `others` has contestants and the shares of theirs that ours should stay below."""
    names = [f"{side}-{kind}-{series}" for side in ("bext", *others)]
    whole = compare("benchmarks.exposition", names, rounds=rounds, times=1)
    changes = compare("benchmarks.exposition", names, rounds=rounds, times=-1)
    scrapes = {name: [one - statistics.median(changes[name]) for one in whole[name]] for name in names}
    for name in names:
        print(
            f"{name:28} {statistics.median(scrapes[name]) / 1e3:9.1f} ms of CPU a scrape (median of "
            f"{rounds} rounds)"
        )
    for name, (other, target) in zip(names[1:], others.items(), strict=True):
        shares = sorted(mine / theirs for mine, theirs in zip(scrapes[names[0]], scrapes[name], strict=True))
        print(
            f"{kind}: {statistics.median(shares):.3f} of {other}'s (min {shares[0]:.3f}, max "
            f"{shares[-1]:.3f}; target {target})"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--counters", type=int, default=100_000)
    parser.add_argument("--durations", type=int, default=10_000)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        side, kind, series = arguments.contestant.split("-")
        contestant_loop({"bext": _bext, "upstream": _upstream, "native": _native}[side](int(series), kind))
        return
    print(f"memory: {memory(arguments.counters):.0f} bytes for a counter series (target 900)")
    compared("counters", arguments.counters, {"upstream": 0.05, "native": 0.12}, arguments.rounds)
    compared("durations", arguments.durations, {"upstream": 0.15}, arguments.rounds)


if __name__ == "__main__":
    main()
