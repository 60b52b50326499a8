"""What a span and a log record cost until they are bytes in a request of OTLP: made, ended, encoded, given to
a transport that drops them. Ours beside upstream's providers, batch processors and encoder.

`python -m benchmarks.spans`. CPU time of the whole process, its exporting thread included. A burst of 10,000
spans at once tells how many of them each side loses.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.interleaved import compare, contestant_loop
from benchmarks.sides import Nowhere, dropping_exporter, encoding_processor
from benchmarks.sink import sink

Work = Callable[[int], object]

_FIELDS = {"http.request.method": "GET", "url.path": "/a", "http.route": "/a", "n": 200, "ratio": 0.5}
_BURST = 10_000
_NAMES = ("bare", "span-ours", "span-upstream", "record-ours", "record-upstream")
# Encodes and sends in Rust, behind the SDK's provider; used where it is installed.
_FASTOTEL = "span-fastotel"


def _ours(nowhere: Nowhere) -> tuple[Any, Any]:
    from opentelemetry.sdk.resources import Resource

    from bext_otel.export.traces import encoded_batches
    from bext_otel.logs.install import BextLoggerProvider
    from bext_otel.logs.sinks import ExportSink
    from bext_otel.traces.provider import BextTracerProvider

    tracers = BextTracerProvider(Resource({}))
    batches, sink = encoded_batches(dropping_exporter("traces", nowhere))
    tracers.add_sink(sink, batches)
    exporter = dropping_exporter("logs", nowhere)
    loggers = BextLoggerProvider(
        Resource({}), [ExportSink(exporter, shutdown_seconds=3)], shutdown_on_exit=False
    )
    return tracers, loggers


def _upstream(nowhere: Nowhere) -> tuple[Any, Any]:
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import (
        BatchLogRecordProcessor,
        LogRecordExporter,
        LogRecordExportResult,
    )
    from opentelemetry.sdk.trace import TracerProvider

    class Records(LogRecordExporter):
        def export(self, batch: Any) -> LogRecordExportResult:
            nowhere.take(encode_logs(batch).SerializeToString(), len(batch))
            return LogRecordExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(encoding_processor(nowhere))
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(Records()))
    return tracers, loggers


def _fastotel() -> Any:
    from opentelemetry.sdk.trace import TracerProvider

    fastotel: Any = import_module("fastotel")
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(fastotel.OTLPSpanProcessor())
    return tracers


def _span(tracers: Any) -> Callable[[], object]:
    tracer = tracers.get_tracer("bench", "1")
    return lambda: tracer.start_span("work", attributes=_FIELDS).end()


def _record(loggers: Any) -> Callable[[], object]:
    from opentelemetry._logs import LogRecord, SeverityNumber

    logger = loggers.get_logger("bench", "1")
    return lambda: logger.emit(
        LogRecord(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body="done",
            attributes=dict(_FIELDS),
        )
    )


def contestant(name: str) -> Work:
    """What `span` or `record`, a dash and a side does; `bare` is the loop."""
    if name == "bare":
        return lambda times: [None for _ in range(times)]
    kind, _, side = name.partition("-")
    if side == "fastotel":
        tracers, loggers = _fastotel(), None
    else:
        tracers, loggers = {"ours": _ours, "upstream": _upstream}[side](Nowhere())
    once, provider = (_span(tracers), tracers) if kind == "span" else (_record(loggers), loggers)

    def work(times: int) -> None:
        # As much as waits in upstream's queue, so that nothing is lost on either side.
        for _ in range(times // 1000):
            for _ in range(1000):
                once()
            provider.force_flush()

    return work


def _lost(side: str) -> int:
    nowhere = Nowhere()
    tracers, _ = {"ours": _ours, "upstream": _upstream}[side](nowhere)
    once = _span(tracers)
    for _ in range(_BURST):
        once()
    tracers.force_flush()
    tracers.shutdown()
    return _BURST - nowhere.items


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=20_000, help="spans or records a round")
    parser.add_argument("--contestant", choices=[*_NAMES, _FASTOTEL], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        contestant_loop(contestant(given.contestant))
        return
    peers = [_FASTOTEL] if find_spec("fastotel") is not None else []
    with sink() as address:  # for who sends from native code; the others throw their requests away
        os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{address}/v1/traces"
        figures = compare("benchmarks.spans", [*_NAMES, *peers], rounds=given.rounds, times=given.times)
    for kind, target in (("span", 0.25), ("record", 0.25)):
        ours, theirs = figures[f"{kind}-ours"], figures[f"{kind}-upstream"]
        shares = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
        print(
            f"{kind}: {statistics.median(ours):.1f} us of CPU, upstream {statistics.median(theirs):.1f}: "
            f"{statistics.median(shares):.2f} of upstream's "
            f"(min {shares[0]:.2f}, max {shares[-1]:.2f}; target {target})"
        )
    for peer in peers:
        shares = sorted(
            mine / other for mine, other in zip(figures[peer], figures["span-upstream"], strict=True)
        )
        print(
            f"{peer}: {statistics.median(shares):.2f} of upstream's "
            f"(min {shares[0]:.2f}, max {shares[-1]:.2f})"
        )
    if not peers:
        print("fastotel is not installed")
    for side in ("ours", "upstream"):
        print(f"burst of {_BURST} spans, {side}: {_lost(side)} lost")


if __name__ == "__main__":
    main()
