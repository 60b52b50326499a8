"""What one measurement costs, of the catalogue's instruments and of an application's own: ours beside the
SDK's, through the OpenTelemetry API, with 4 attributes, inside a sampled span, exemplars on. And what a
scrape of 10,000 series of an application's own costs, and how much memory each of them takes.

`python -m benchmarks.instruments`. Both are drained or collected once a second, as a scrape every second
would.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
import tracemalloc
from collections.abc import Callable

from benchmarks.interleaved import asked, compare

Work = Callable[[int], object]

_LABELS = {"app": "shop", "method": "GET", "status": "200", "route": "/products/{slug}"}
_PAGE = {"app": "shop", "route": "/products/{slug}", "method": "GET", "status": "200"}


def _meter(side: str) -> tuple[object, Callable[[], object]]:
    """A meter, and what drains it."""
    if side == "upstream":
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        reader = InMemoryMetricReader()
        return MeterProvider([reader], shutdown_on_exit=False).get_meter("bench"), reader.collect
    from opentelemetry.sdk.resources import Resource

    from bext_otel.apps import Budgets
    from bext_otel.metrics.provider import BextMeterProvider
    from bext_otel.metrics.store.streams import Streams

    streams = Streams(Budgets({}))
    return BextMeterProvider(streams, Resource({})).get_meter("bench"), streams.drain


def _call(side: str, kind: str) -> tuple[Callable[[float], object], Callable[[], object]]:
    from bext_otel.catalogue import REQUEST_DURATION, REQUESTS

    meter, drain = _meter("upstream" if side == "upstream" else "bext")
    names = {"add": REQUESTS.name, "record": REQUEST_DURATION.name}
    if kind.endswith("add"):
        add = meter.create_counter(names.get(kind, "orders"))  # type: ignore[attr-defined]  # either provider's meter
        call = add.bind(_LABELS) if side == "bound" else lambda value: add.add(value, _LABELS)
    else:
        record = meter.create_histogram(names.get(kind, "wait"))  # type: ignore[attr-defined]  # as above
        call = record.bind(_PAGE) if side == "bound" else lambda value: record.record(value, _PAGE)
    return call, drain


_SERIES = 10_000
_OWN = [{"customer": f"customer-{number}", "region": "eu", "kind": "web"} for number in range(_SERIES)]


def _page(side: str) -> tuple[Callable[[], object], Callable[[], bytes]]:
    """What adds to each of many series of an application's own, and what answers a scrape of them."""
    if side == "upstream":
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
        from prometheus_client import REGISTRY, generate_latest

        meter = MeterProvider([PrometheusMetricReader()], shutdown_on_exit=False).get_meter("shop")
        scrape = lambda: generate_latest(REGISTRY)  # noqa: E731  # as below
    else:
        from opentelemetry.sdk.resources import Resource

        from bext_otel.apps import Budgets
        from bext_otel.endpoints.formats.text import render
        from bext_otel.metrics.provider import BextMeterProvider
        from bext_otel.metrics.reader import SnapshotReader
        from bext_otel.metrics.store.streams import Streams

        provider = BextMeterProvider(Streams(Budgets({})), Resource({}), series_limit=_SERIES)
        reading = SnapshotReader(provider.streams, provider.instruments, include_process=False)
        meter, scrape = provider.get_meter("shop"), lambda: render(reading.snapshot())
    counter = meter.create_counter("orders")
    return lambda: [counter.add(1, attributes) for attributes in _OWN], scrape


def _scrapes(side: str) -> Work:
    add, scrape = _page(side)
    add()

    def work(times: int) -> None:
        for _ in range(max(times // _SERIES, 1)):
            scrape()

    return work


def _exports(side: str) -> Work:
    """What an export of them over OTLP costs, until it is bytes."""
    if side == "upstream":
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        reader = InMemoryMetricReader()
        meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("shop")
        export = lambda: encode_metrics(reader.get_metrics_data()).SerializeToString()  # noqa: E731  # as below
    else:
        from opentelemetry.sdk.resources import Resource

        from bext_otel.apps import Budgets
        from bext_otel.export.metric_encoder import MetricEncoder
        from bext_otel.metrics.data import metrics_data
        from bext_otel.metrics.provider import BextMeterProvider
        from bext_otel.metrics.store.streams import Streams

        resource, encoder = Resource({}), MetricEncoder()
        provider = BextMeterProvider(Streams(Budgets({})), resource, series_limit=_SERIES)
        meter = provider.get_meter("shop")
        export = lambda: encoder.encode(  # noqa: E731  # as above
            metrics_data(provider.instruments, resource, {})
        )
    counter = meter.create_counter("orders")
    for attributes in _OWN:
        counter.add(1, attributes)

    def work(times: int) -> None:
        for _ in range(max(times // _SERIES, 1)):
            export()

    return work


def _bytes_a_series(side: str) -> float:
    """What is allocated for each series, once it has been scraped."""
    add, scrape = _page(side)
    scrape()
    tracemalloc.start()
    add()
    scrape()
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / _SERIES


def _work(name: str) -> Work:
    if name.startswith("scrape-"):
        return _scrapes(name.partition("-")[2])
    if name.startswith("export-"):
        return _exports(name.partition("-")[2])
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    side, kind, threads = name.split("-")
    call, drain = _call(side, kind)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("bench")

    def measure(times: int) -> None:
        span = tracer.start_span("request")
        with trace.use_span(span):
            for _ in range(times):
                call(2.5)

    def work(times: int) -> None:
        stop = threading.Event()
        drainer = threading.Thread(target=lambda: [drain() for _ in iter(lambda: stop.wait(1.0), True)])
        drainer.start()
        workers = [
            threading.Thread(target=measure, args=(times // int(threads),)) for _ in range(int(threads))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stop.set()
        drainer.join()
        drain()

    return work


def _loop_cost(times: int) -> float:
    """CPU microseconds of the bare loop around one call."""
    started = time.process_time()
    call: Callable[[float], object] = lambda value: None  # noqa: E731  # the thing that is measured
    for _ in range(times):
        call(2.5)
    return (time.process_time() - started) / times * 1e6


def main() -> None:
    """Measure and print."""
    arguments = asked(__doc__, "measurements", 200_000, _work)
    loop = _loop_cost(1_000_000)
    for kind in ("add", "record", "own_add", "own_record"):
        names = [
            f"upstream-{kind}-1",
            f"bext-{kind}-1",
            f"bound-{kind}-1",
            f"bext-{kind}-4",
            f"bound-{kind}-4",
        ]
        figures = compare(
            "benchmarks.instruments", names, rounds=arguments.rounds, times=arguments.measurements
        )
        cost = {name: [value - loop for value in values] for name, values in figures.items()}

        def share(ours: str, theirs: str, cost: dict[str, list[float]] = cost) -> str:
            shares = sorted(mine / other for mine, other in zip(cost[ours], cost[theirs], strict=True))
            return f"{statistics.median(shares):.3f} (min {shares[0]:.3f}, max {shares[-1]:.3f})"

        for name in names:
            print(
                f"{name:20} {statistics.median(cost[name]):7.3f} us of CPU a measurement (median of "
                f"{arguments.rounds} rounds)"
            )
        print(
            f"{kind}: {share(names[1], names[0])} of upstream's (target 0.10); bound "
            f"{share(names[2], names[0])} (target 0.06)"
        )
        print(
            f"{kind}: 4 threads cost {share(names[3], names[1])} of one, bound {share(names[4], names[2])} "
            "(target 1.15)"
        )
    for what in ("scrape", "export"):
        found = compare(
            "benchmarks.instruments",
            [f"{what}-upstream", f"{what}-bext"],
            rounds=arguments.rounds,
            times=_SERIES,
        )
        theirs, ours = found[f"{what}-upstream"], found[f"{what}-bext"]
        shares = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
        print(
            f"{what} of {_SERIES} series of its own: {statistics.median(ours) * _SERIES / 1e3:.1f} ms, "
            f"{statistics.median(shares):.3f} of upstream's (min {shares[0]:.3f}, max {shares[-1]:.3f}; "
            "target 0.08 of a scrape)"
        )
    print(f"memory of one of them: {_bytes_a_series('bext'):.0f} bytes (target 900)")


if __name__ == "__main__":
    main()
