"""What watching a cache costs: a hit of cachetools' LRUCache, watched and not, beside one `add` of the SDK's
counter with 4 attributes.

`python -m benchmarks.cache_hit`. In a request's context, inside a sampled span, exemplars on, and logging at
info, as a service runs. The watched ones measure into our engine; `miss` is a `get` of what is not there,
`store` one that evicts (counter, span and log line).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.interleaved import asked, compare

Work = Callable[[int], object]

_NAMES = [
    "loop",
    "add",
    "bare-hit",
    "watched-hit",
    "bare-miss",
    "watched-miss",
    "bare-store",
    "watched-store",
]
_LABELS = {"app": "shop", "method": "GET", "status": "200", "route": "/products/{slug}"}


def _engine() -> None:
    """Our engine, with logging at info into nowhere, as the distribution sets it up."""
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from bext_otel.apps import Budgets
    from bext_otel.config import LoggingSettings
    from bext_otel.logs.install import build_provider, install
    from bext_otel.metrics.provider import BextMeterProvider
    from bext_otel.metrics.store.streams import Streams

    resource = Resource({})
    metrics.set_meter_provider(BextMeterProvider(Streams(Budgets({})), resource))
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    logging = LoggingSettings(output="file", file_path="/dev/null")
    provider = build_provider(logging, resource, None)
    _logs.set_logger_provider(provider)
    install(logging, provider, apps={})


def _add() -> Callable[[], object]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    counter = (
        MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        .get_meter("bench")
        .create_counter("requests")
    )
    return lambda: counter.add(1, _LABELS)


def _calls(name: str) -> Callable[[], object]:
    if name == "loop":
        return lambda: None
    if name == "add":
        return _add()
    side, what = name.split("-")
    if side == "watched":
        _engine()
        from bext_otel_instrumentors.cache.cachetools.instrumentor import CachetoolsInstrumentor

        CachetoolsInstrumentor().instrument(layers={"LRUCache": "isr"}, skip_dep_check=True)
    from cachetools import LRUCache

    cache: Any = LRUCache(100)
    cache["a"] = 1
    if what == "hit":
        return lambda: cache["a"]
    if what == "miss":
        return lambda: cache.get("b")
    keys = iter(range(1 << 62))
    return lambda: cache.__setitem__(next(keys), 1)


def _work(name: str) -> Work:
    from opentelemetry import context, trace

    call = _calls(name)
    from bext_otel.apps import with_app

    def work(times: int) -> None:
        span = trace.get_tracer_provider().get_tracer("bench").start_span("request")
        token = context.attach(with_app("shop", trace.set_span_in_context(span)))
        for _ in range(times):
            call()
        context.detach(token)

    return work


def main() -> None:
    """Measure and print."""
    arguments = asked(__doc__, "calls", 100_000, _work)
    figures = compare("benchmarks.cache_hit", _NAMES, rounds=arguments.rounds, times=arguments.calls)
    for name in _NAMES:
        print(
            f"{name:14} {statistics.median(figures[name]):8.3f} us of CPU a call (median of "
            f"{arguments.rounds} rounds)"
        )
    for what in ("hit", "miss", "store"):
        shares = sorted(
            (watched - bare) / (add - loop)
            for watched, bare, add, loop in zip(
                figures[f"watched-{what}"],
                figures[f"bare-{what}"],
                figures["add"],
                figures["loop"],
                strict=True,
            )
        )
        target = "target 3 at most" if what != "store" else "with a span, which is apart from the target"
        print(
            f"{what}: watching costs {statistics.median(shares):.2f} upstream adds (min {shares[0]:.2f}, "
            f"max {shares[-1]:.2f}; {target})"
        )


if __name__ == "__main__":
    main()
