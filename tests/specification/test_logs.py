"""The specification's rows on logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.otlp import receiving_grpc
from tests.fresh import fresh
from tests.specification.programs import Run, attributes, running

PROGRAM = """
import logging
import bext_otel
from opentelemetry import _logs, context, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor, InMemoryLogRecordExporter, LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor)

heard = {"down": 0, "flushed": 0, "asked": []}

class Hears(LogRecordProcessor):
    def on_emit(self, log_record):
        log_record.log_record.attributes["processed"] = True
    def enabled(self, *, context=None, instrumentation_scope=None, severity_number=None, event_name=None):
        heard["asked"].append([severity_number and severity_number.name, event_name])
        return event_name != "nobody's"
    def shutdown(self):
        heard["down"] += 1
    def force_flush(self, timeout_millis=30000):
        heard["flushed"] += 1
        return True

class Own(LogRecordExporter):
    bodies = []
    def export(self, batch):
        self.bodies += [each.log_record.body for each in batch]
        return LogRecordExportResult.SUCCESS
    def shutdown(self): pass
    def force_flush(self, timeout_millis=30000): return True

simple, batch = InMemoryLogRecordExporter(), InMemoryLogRecordExporter()
runs = bext_otel.configure(
    log_record_processors=[Hears(), SimpleLogRecordProcessor(simple), BatchLogRecordProcessor(batch)], exporters=[Own()])
provider = _logs.get_logger_provider()
logger = provider.get_logger("shop", "1.2", "https://schema/2", {"team": "web"})

with trace.get_tracer("shop").start_as_current_span("work") as span:
    logger.emit(LogRecord(timestamp=1, observed_timestamp=2, severity_number=SeverityNumber.TRACE, severity_text="fine", body="whole",
                          attributes={"a": [1, 2], "m": {"k": "v"}, "b": b"x"}, event_name="shop.opened"))
other = trace.set_span_in_context(span)
logger.emit(body="elsewhere", context=other)
try:
    raise KeyError("shelf")
except KeyError as error:
    logger.emit(LogRecord(body="failed", exception=error, attributes={"exception.message": "mine"}))
simple_at_once = [each.log_record.body for each in simple.get_finished_logs()]

events = bext_otel.events("shop.events", "3")
try:
    raise OSError("no card")
except OSError as error:
    events.error("payment.failed", {"order.id": 7}, exception=error, body="it failed")
events.debug("order.priced")
wanted = [events.enabled("order.priced", severity=SeverityNumber.DEBUG)]
logger.enabled(severity_number=SeverityNumber.WARN, event_name="asked")

flushed = provider.force_flush(10_000)
batched = [each.log_record.body for each in batch.get_finished_logs()]
runs.shutdown()
show({"span": [f"{span.get_span_context().trace_id:032x}", f"{span.get_span_context().span_id:016x}"], "own": Own.bodies,
      "simple": simple_at_once, "batched": batched, "flushed": flushed, "wanted": wanted, **heard})
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(PROGRAM, tmp_path_factory.mktemp("logs")) as run:
        yield run


@pytest.mark.specification(
    "Logs", "LoggerProvider.Get Logger", "LoggerProvider.Get Logger accepts attributes"
)
@pytest.mark.specification("Exporters", "OTLP: SchemaURL in ResourceLogs and ScopeLogs")
def test_a_logger_s_scope_arrives_whole(run: Run) -> None:
    (scope,) = (scope for record, scope, _ in run.records() if record.body.string_value == "whole")
    assert ("shop", "1.2", "https://schema/2") == (scope.scope.name, scope.scope.version, scope.schema_url)
    assert {"team": "web"} == attributes(scope.scope.attributes)


@pytest.mark.specification(
    "Logs",
    "Logger.Emit(LogRecord)",
    "LogRecord.Set EventName",
    "OTLP/HTTP exporter",
    "Can plug custom LogRecordProcessor",
)
@pytest.mark.specification(
    "Beyond the rows",
    "Logs SDK: changes that a processor makes to a record are seen by the processors after it, and exported",
    "Logs SDK: a record of any severity that is emitted at the API is processed",
)
def test_a_record_arrives_with_all_its_fields_below_any_level_of_lines(run: Run) -> None:
    """What its processor has changed included."""
    record = run.record("whole")
    assert (1, 2, 1, "fine", "shop.opened") == (
        record.time_unix_nano,
        record.observed_time_unix_nano,
        record.severity_number,
        record.severity_text,
        record.event_name,
    )
    assert {"a": [1, 2], "m": {"k": "v"}, "b": b"x", "processed": True} == attributes(record.attributes)


@pytest.mark.specification("Logs", "LogRecord.Set Exception")
def test_an_exception_gives_attributes_and_the_caller_s_win(run: Run) -> None:
    found = attributes(run.record("failed").attributes)
    assert ("KeyError", "mine") == (found["exception.type"], found["exception.message"])
    assert "KeyError: 'shelf'" in found["exception.stacktrace"]


@pytest.mark.specification("Logs", "Trace Context Injection")
def test_a_record_has_the_ids_of_its_span(run: Run) -> None:
    for body in ("whole", "elsewhere"):
        record = run.record(body)
        assert run.shown["span"] == [record.trace_id.hex(), record.span_id.hex()]


@pytest.mark.specification("Logs", "LoggerProvider.Shutdown", "LoggerProvider.ForceFlush")
def test_flush_and_shutdown_reach_every_processor(run: Run) -> None:
    assert (True, 1, 1) == (run.shown["flushed"], run.shown["flushed"] and 1, run.shown["down"])
    assert run.record("whole")


@pytest.mark.specification(
    "Logs", "SimpleLogRecordProcessor", "BatchLogRecordProcessor", "Can plug custom LogRecordExporter"
)
def test_processors_and_exporters_of_the_sdk_s_interfaces(run: Run) -> None:
    emitted = ["whole", "elsewhere", "failed"]
    assert emitted == run.shown["simple"]
    assert emitted == run.shown["batched"][:3]
    assert emitted == run.shown["own"][:3]


@pytest.mark.specification("Logs", "Logger.Enabled", "LogRecordProcessor.Enabled", "Ergonomic API")
def test_events_are_emitted_in_few_words(run: Run) -> None:
    (record,) = (record for record, _, _ in run.records() if record.event_name == "payment.failed")
    found = attributes(record.attributes)
    assert (17, "ERROR", "it failed", 7) == (
        record.severity_number,
        record.severity_text,
        record.body.string_value,
        found["order.id"],
    )
    assert ("OSError", "no card") == (found["exception.type"], found["exception.message"])
    assert record.time_unix_nano
    assert ["order.priced"] == [r.event_name for r, _, _ in run.records() if r.severity_number == 5]
    assert [True] == run.shown["wanted"]


ASKING = """
import bext_otel
from opentelemetry import _logs
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LogRecordProcessor

asked = []

class Picky(LogRecordProcessor):
    def on_emit(self, log_record): pass
    def enabled(self, *, context=None, instrumentation_scope=None, severity_number=None, event_name=None):
        asked.append([instrumentation_scope.name, severity_number.name, event_name])
        return event_name == "wanted"
    def shutdown(self): pass
    def force_flush(self, timeout_millis=30000): return True

bext_otel.configure(log_record_processors=[Picky()])
logger = _logs.get_logger("shop")
answers = [logger.enabled(severity_number=SeverityNumber.WARN, event_name=name) for name in ("wanted", "other")]
show([answers, asked])
"""


@pytest.mark.specification("Logs", "LogRecordProcessor.Enabled", "Logger.Enabled")
def test_whoever_asks_whether_a_record_is_wanted_is_told_by_the_processors(tmp_path: Path) -> None:
    shown, _ = fresh(ASKING, tmp_path, BEXT_LOGGING_OUTPUT="none")
    assert [[True, False], [["shop", "WARN", "wanted"], ["shop", "WARN", "other"]]] == shown


@pytest.mark.specification("Logs", "OTLP/gRPC exporter")
def test_records_go_over_grpc(tmp_path: Path) -> None:
    with receiving_grpc() as receiver:
        fresh(
            """
            import bext_otel
            from opentelemetry import _logs
            runs = bext_otel.configure()
            _logs.get_logger("shop").emit(body="sold")
            runs.shutdown()
            show(None)
            """,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        assert ["sold"] == [line.body for line in receiver.lines()]


CONFIGURED = """
import bext_otel
from opentelemetry import _logs, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from bext_otel.logs.configurator import LoggerConfig

class Theirs:
    is_enabled = False

configs = {"off": Theirs(), "grave": LoggerConfig(minimum_severity=SeverityNumber.WARN.value), "traced": LoggerConfig(trace_based=True)}
runs = bext_otel.configure(sampler=ALWAYS_OFF, logger_configurator=lambda scope: configs.get(scope.name, LoggerConfig()))
told = {}
with trace.get_tracer("shop").start_as_current_span("dropped"):
    for name in ("off", "grave", "traced", "other"):
        logger = _logs.get_logger(name)
        for severity in (SeverityNumber.INFO, SeverityNumber.WARN, None):
            logger.emit(body=f"{name} {severity and severity.name}", severity_number=severity)
        told[name] = logger.enabled(severity_number=SeverityNumber.INFO)
_logs.get_logger("traced").emit(body="traced outside")
runs.shutdown()
show(told)
"""


@pytest.mark.specification(
    "Beyond the rows",
    "Logs SDK: LoggerConfig has `enabled`, `minimum_severity` and `trace_based`",
)
def test_a_configurator_says_which_loggers_count_and_from_which_severity_on(tmp_path: Path) -> None:
    """Specification, "LoggerConfig": no severity is never too low, and no span is none that is not sampled."""
    with running(CONFIGURED, tmp_path) as run:
        bodies = {record.body.string_value for record, _, _ in run.records()}
    assert {"grave WARN", "grave None", "traced outside", "other INFO", "other WARN", "other None"} == bodies
    assert {"off": False, "grave": False, "traced": False, "other": True} == run.shown


RAISING = """
import bext_otel
from opentelemetry import _logs
from opentelemetry.sdk._logs import LogRecordProcessor
class Raises(LogRecordProcessor):
    def on_emit(self, log_record): raise RuntimeError("no shelf")
    def shutdown(self): raise RuntimeError("no end")
    def force_flush(self, timeout_millis=30000): raise RuntimeError("no flush")
runs = bext_otel.configure(log_record_processors=[Raises()])
for _ in range(3):
    _logs.get_logger("shop").emit(body="sold")
flushed = _logs.get_logger_provider().force_flush(1000)
runs.shutdown()
show(flushed)
"""


@pytest.mark.specification(
    "Beyond the rows",
    "Error handling: nothing that a user's part raises reaches the application",
)
def test_a_processor_that_raises_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    with running(RAISING, tmp_path) as run:
        bodies = [
            record.body.string_value for record, scope, _ in run.records() if scope.scope.name == "shop"
        ]
    assert (["sold"] * 3, False) == (bodies, run.shown)
    (line,) = run.lines
    assert "Raises: RuntimeError: no shelf" in line["message"]


@pytest.mark.specification("Logs", "OTLP File exporter")
@pytest.mark.specification("Exporters", "OTLP: Multi-destination spec compliance")
def test_exporters_that_packages_offer_are_there_by_the_specification_s_names(tmp_path: Path) -> None:
    """`otlp/stdout` is upstream's `otlp_json_file`, where that is installed; here a package stands for it."""
    package: Any = tmp_path / "files-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: files\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[opentelemetry_logs_exporter]\notlp_json_file = filed:Files\n")
    (tmp_path / "filed.py").write_text(
        "from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter\n"
        "class Files(InMemoryLogRecordExporter):\n"
        "    def export(self, batch):\n"
        "        print('filed:', len(batch))\n"
        "        return super().export(batch)\n"
    )
    program = """
        import contextlib, io
        import bext_otel
        from opentelemetry import _logs
        runs = bext_otel.configure()
        _logs.get_logger("shop").emit(body="sold")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            runs.shutdown()
        show(out.getvalue())
        """
    with running(program, tmp_path, OTEL_LOGS_EXPORTER="otlp,otlp/stdout", PYTHONPATH=str(tmp_path)) as run:
        assert ["sold"] == [record.body.string_value for record, _, _ in run.records()]
    assert "filed: 1\n" == run.shown
