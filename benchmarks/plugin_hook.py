"""What watching a plugin's hook costs, beside one `add` of upstream's counter: pluggy and wasmtime, with our
engine in force.

`python -m benchmarks.plugin_hook`. `bare` is the library alone, `off` the instrumented library under
suppression, `metrics` without a tracer provider, `unsampled` and `sampled` with spans as well, exported to
nowhere. The difference to `bare` is the cost. Upstream's `add` is that of `benchmarks.instruments`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from benchmarks.interleaved import asked, compare

Work = Callable[[int], object]

_MODULE = '(module $bench (func (export "hook") (param i32) (result i32) local.get 0))'
_SIDES = ("off", "metrics", "unsampled", "sampled")
_TARGET = 3.0  # upstream `add`s that the metrics of an event may cost


def _pluggy() -> Callable[[], object]:
    import pluggy

    manager = pluggy.PluginManager("bench")

    class Plugin:
        @pluggy.HookimplMarker("bench")
        def on_request(self, path: str) -> str:
            return path

    manager.register(Plugin(), "plugin")
    hook = manager.hook.on_request
    return lambda: hook(path="/")


def _wasmtime() -> Callable[[], object]:
    from wasmtime import Config, Engine, Instance, Module, Store

    config = Config()
    config.consume_fuel = True
    store = Store(Engine(config))
    store.set_fuel(2**60)
    hook: Any = Instance(store, Module(store.engine, _MODULE), []).exports(store)["hook"]
    return lambda: hook(store, 1)


def _telemetry(side: str) -> None:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    from bext_otel.apps import Budgets
    from bext_otel.metrics.provider import BextMeterProvider
    from bext_otel.metrics.store.streams import Streams

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    if side != "metrics":
        tracers = TracerProvider(
            sampler=ALWAYS_OFF if side == "unsampled" else ALWAYS_ON, shutdown_on_exit=False
        )
        tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
        trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(BextMeterProvider(Streams(Budgets({})), Resource({})))


def _work(name: str) -> Work:
    library, _, side = name.partition("-")
    if library == "upstream":
        from benchmarks.instruments import _work as instruments

        return instruments("upstream-add-1")
    around: Any = nullcontext
    if side != "bare":
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        from bext_otel_instrumentors.plugins.pluggy import PluggyInstrumentor
        from bext_otel_instrumentors.plugins.wasmtime import WasmtimeInstrumentor

        _telemetry(side)
        PluggyInstrumentor().instrument()
        WasmtimeInstrumentor().instrument()
        if side == "off":
            around = suppress_instrumentation
    hook = {"pluggy": _pluggy, "wasmtime": _wasmtime}[library]()

    def work(times: int) -> None:
        with around():
            for _ in range(times):
                hook()

    return work


def main() -> None:
    """Measure and print."""
    arguments = asked(__doc__, "calls", 20_000, _work)
    names = [
        "upstream",
        *(f"{library}-{side}" for library in ("pluggy", "wasmtime") for side in ("bare", *_SIDES)),
    ]
    figures = compare("benchmarks.plugin_hook", names, rounds=arguments.rounds, times=arguments.calls)
    add = figures["upstream"]
    print(
        f"{'upstream add':18} {statistics.median(add):7.2f} us of CPU (median of {arguments.rounds} rounds)"
    )
    for library in ("pluggy", "wasmtime"):
        bare = figures[f"{library}-bare"]
        print(f"{library + '-bare':18} {statistics.median(bare):7.2f} us")
        for side in _SIDES:
            costs = [cost - base for cost, base in zip(figures[f"{library}-{side}"], bare, strict=True)]
            shares = sorted(cost / one for cost, one in zip(costs, add, strict=True))
            target = f", target {_TARGET:.0f}" if side == "metrics" else ""
            print(
                f"{library}-{side:10} {statistics.median(costs):7.2f} us more: "
                f"{statistics.median(shares):.2f} upstream adds "
                f"(min {shares[0]:.2f}, max {shares[-1]:.2f}{target})"
            )


if __name__ == "__main__":
    main()
