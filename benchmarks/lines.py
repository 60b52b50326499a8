"""What a line of a log costs: a JSON line with six fields, and ours with the ids of its trace; the same
handed to OTLP as well, until it is bytes in a request; a call that is below its level; the completion record
of a request.

`python -m benchmarks.lines`. Peers in turn in one run, CPU time of the whole process, its exporting thread
included. Lines go to the null device (`--to pipe`: to a pipe that another process reads). The peers are
python-json-logger, with msgspec and with the standard library's `json`, structlog as its documentation has
it for speed, and upstream's handler, batch processor and encoder. 20,000 lines a second for `--seconds` tell
how many records each side loses.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.interleaved import compare, contestant_loop

Work = Callable[[int], object]

_FIELDS: dict[str, Any] = {
    "user": "u-48151623",
    "cart": 4711,
    "total": 129.95,
    "currency": "EUR",
    "express": True,
    "attempt": 1,
}
_MESSAGE = "order placed"
_RATE = 20_000
_NAMES = (
    "stdlib",
    "stdlib-json",
    "stdlib-json-plain",
    "structlog",
    "structlog-json",
    "stdlib-otlp",
    "structlog-otlp",
    "stdlib-json-otlp",
    "completion",
    "disabled",
    "disabled-stdlib",
    "structlog-disabled",
)
# Ours, whom it is compared with, and the share that is wanted.
_SHARES = (
    ("stdlib", "stdlib-json", 0.65),
    ("stdlib", "stdlib-json-plain", 0.65),
    ("structlog", "stdlib-json", 0.40),
    ("structlog", "stdlib-json-plain", 0.40),
    ("structlog", "structlog-json", None),
    ("stdlib-otlp", "stdlib-json-otlp", 0.25),
    ("structlog-otlp", "stdlib-json-otlp", 0.25),
    ("disabled", "disabled-stdlib", 3.0),
    ("structlog-disabled", "disabled-stdlib", 3.0),
)


def _sink() -> Any:
    """Where lines go; standard output itself answers who runs this."""
    to = os.environ.get("BENCHMARK_LINES_TO", "null")
    if to == "null":
        return Path(os.devnull).open("w")
    reader = subprocess.Popen(
        [sys.executable, "-c", "import os\nwhile os.read(0, 1 << 20): pass"],
        stdin=subprocess.PIPE,
        text=True,
    )
    return reader.stdin


class _Counted:
    """A transport that counts what is in the requests that it is given."""

    def __init__(self) -> None:
        self.items = 0

    def take(self, content: bytes, items: int) -> bool:
        assert content
        self.items += items
        return True


def _ours(
    *, counted: _Counted | None = None, apps: Sequence[str] = (), level: str = "info", **settings: Any
) -> Any:
    from opentelemetry import _logs
    from opentelemetry.sdk.resources import Resource

    from bext_otel.config import AppSettings, LoggingSettings
    from bext_otel.export.delivery import Delivery
    from bext_otel.export.origins import Encoded, Origins
    from bext_otel.export.otlp import EncodedExporter
    from bext_otel.logs.install import build_provider, install

    class Counting(EncodedExporter):
        def __init__(self, to: _Counted) -> None:
            self.delivery, self.origins, self._to = Delivery("logs", "nowhere"), Origins(), to

        def export(self, batch: Sequence[Encoded]) -> bool:
            return self._to.take(self.origins.request(batch), len(batch))

        def shutdown(self) -> None:
            pass

    config = LoggingSettings(level=level, **{"output": "stdout", **settings})
    provider = build_provider(
        config, Resource({"service.name": "shop"}), Counting(counted) if counted is not None else None
    )
    install(config, provider, apps={name: AppSettings(log_level="debug") for name in apps})
    _logs.set_logger_provider(provider)
    return provider


def _json_logger(*, plain: bool) -> None:
    from pythonjsonlogger.json import JsonFormatter
    from pythonjsonlogger.msgspec import MsgspecFormatter

    handler = logging.StreamHandler(sys.stdout)
    kind: Any = JsonFormatter if plain else MsgspecFormatter
    handler.setFormatter(kind("{asctime}{levelname}{name}{message}", style="{"))
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)


def _structlog_json() -> Any:
    import msgspec
    import structlog

    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=lambda event, **_: msgspec.json.encode(event)),
        ],
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
    )
    return structlog.get_logger()


def _upstream(counted: _Counted) -> Any:
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import (
        BatchLogRecordProcessor,
        LogRecordExporter,
        LogRecordExportResult,
    )
    from opentelemetry.sdk.resources import Resource

    class Counting(LogRecordExporter):
        def export(self, batch: Any) -> LogRecordExportResult:
            counted.take(encode_logs(batch).SerializeToString(), len(batch))
            return LogRecordExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    provider = LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(Counting()))
    logging.root.addHandler(LoggingHandler(level=logging.INFO, logger_provider=provider))
    return provider


class _Exchange:
    """A request that was answered, as far as its completion record asks."""

    app, method, path, seconds = "shop", "GET", "/products/chair", 0.0021
    headers = ((b"content-type", b"text/plain"), (b"content-length", b"7"))
    unhandled = error = None

    def __init__(self, context: Any) -> None:
        self.context = context


def _completion(context: Any) -> Callable[[], object]:
    from bext_otel_instrumentors.http.completion import emit_completion

    exchange: Any = _Exchange(context)
    return lambda: emit_completion(exchange, 200, None, failed=False, slow_request_ms=500)


def _calls(name: str, counted: _Counted) -> tuple[Callable[[], object], Any]:
    """What is done once, and the provider, if there is one."""
    provider: Any = None
    if "json" in name:
        if name == "structlog-json":
            log = _structlog_json()
            return lambda: log.info(_MESSAGE, **_FIELDS), None
        _json_logger(plain=name.endswith("plain"))
        if name.endswith("otlp"):
            provider = _upstream(counted)
    elif name in {"disabled", "structlog-disabled"}:
        provider = _ours(apps=["other"])
    elif name == "disabled-stdlib":
        logging.root.setLevel(logging.INFO)
    else:
        provider = _ours(counted=counted if name.endswith("otlp") else None)
    if name.startswith("structlog"):
        import structlog

        log = structlog.get_logger("shop.orders").bind()
        if name == "structlog-disabled":
            return lambda: log.debug(_MESSAGE), provider
        return lambda: log.info(_MESSAGE, **_FIELDS), provider
    logger = logging.getLogger("shop.orders")
    if name.startswith("disabled"):
        return lambda: logger.debug("%s placed", _MESSAGE), provider
    return lambda: logger.info(_MESSAGE, extra=_FIELDS), provider


def _entered() -> Any:
    """The context of a request, with its span and its app; entered."""
    from opentelemetry import context, trace

    from bext_otel.apps import with_app

    span = trace.NonRecordingSpan(
        trace.SpanContext(0xABC << 100, 0x789 << 48, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    here = with_app("shop", trace.set_span_in_context(span))
    context.attach(here)
    return here


def _work(name: str, counted: _Counted | None = None) -> Work:
    there, sys.stdout = sys.stdout, _sink()
    here = _entered()
    once, provider = _calls(name, counted if counted is not None else _Counted())
    if name == "completion":
        once = _completion(here)
    sink, sys.stdout = sys.stdout, there

    def work(times: int) -> None:
        sys.stdout = sink
        try:
            # As much as waits in upstream's queue, so that nothing is lost on either side.
            for begun in range(0, times, 1000):
                for _ in range(min(1000, times - begun)):
                    once()
                if provider is not None:
                    provider.force_flush()
        finally:
            sys.stdout = there

    return work


def _lost(name: str, seconds: float) -> str:
    """What is lost of 20,000 lines a second; less where the side is not as fast as that."""
    counted = _Counted()
    there, sys.stdout = sys.stdout, _sink()
    _entered()
    once, provider = _calls(name, counted)
    begun = time.perf_counter()
    made = 0
    while (passed := time.perf_counter() - begun) < seconds:
        due = int(passed * _RATE) - made
        if due <= 0:
            time.sleep(0.001)
            continue
        for _ in range(min(due, 100)):
            once()
        made += min(due, 100)
    provider.force_flush()
    provider.shutdown()
    sys.stdout = there
    return f"{made} lines in {seconds:g} s, {made - counted.items} records lost"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=10_000, help="lines a round")
    parser.add_argument("--only", nargs="*", choices=_NAMES, default=list(_NAMES), help="these alone")
    parser.add_argument("--to", choices=["null", "pipe"], default="null", help="where lines go")
    parser.add_argument("--seconds", type=float, default=10.0, help="of lines at 20,000 a second; 0: none")
    parser.add_argument("--contestant", choices=_NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--losing", choices=_NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        contestant_loop(_work(given.contestant))
        return
    if given.losing:
        print(_lost(given.losing, given.seconds))
        return
    os.environ["BENCHMARK_LINES_TO"] = given.to
    figures = compare("benchmarks.lines", given.only, rounds=given.rounds, times=given.times)
    for name in given.only:
        print(
            f"{name:18} {statistics.median(figures[name]):8.2f} us of CPU (median of {given.rounds} rounds)"
        )
    for ours, theirs, wanted in _SHARES:
        if ours in figures and theirs in figures:
            shares = sorted(mine / other for mine, other in zip(figures[ours], figures[theirs], strict=True))
            target = f"; target {wanted}" if wanted is not None else ""
            print(
                f"{ours} / {theirs}: {statistics.median(shares):.2f} (min {shares[0]:.2f}, "
                f"max {shares[-1]:.2f}{target})"
            )
    for name in ("stdlib-otlp", "structlog-otlp", "stdlib-json-otlp"):
        if given.seconds and name in given.only:
            command = [sys.executable, "-m", "benchmarks.lines", "--losing", name]
            told = subprocess.run(
                [*command, "--seconds", str(given.seconds)], capture_output=True, text=True, check=True
            )
            print(f"{name}: {told.stdout.strip()}")


if __name__ == "__main__":
    main()
