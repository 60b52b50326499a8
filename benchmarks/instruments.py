"""What one measurement costs: ours beside the SDK's, through the OpenTelemetry API, with 4 attributes, inside
a sampled span, exemplars on.

`python -m benchmarks.instruments`. Both are drained or collected once a second, as a scrape every second
would.
"""

from __future__ import annotations

import statistics
import threading
import time
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
    if kind == "add":
        add = meter.create_counter(REQUESTS.name)  # type: ignore[attr-defined]  # either provider's meter
        call = add.bind(_LABELS) if side == "bound" else lambda value: add.add(value, _LABELS)
    else:
        record = meter.create_histogram(REQUEST_DURATION.name)  # type: ignore[attr-defined]  # as above
        call = record.bind(_PAGE) if side == "bound" else lambda value: record.record(value, _PAGE)
    return call, drain


def _work(name: str) -> Work:
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
    for kind in ("add", "record"):
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
            f"{kind}: {share(names[1], names[0])} of upstream's (target 0.20); bound "
            f"{share(names[2], names[0])} (target 0.06)"
        )
        print(
            f"{kind}: 4 threads cost {share(names[3], names[1])} of one, bound {share(names[4], names[2])} "
            "(target 1.15)"
        )


if __name__ == "__main__":
    main()
