"""`OTEL_PYTHON_LOG_CORRELATION`, as upstream's instrumentation of logging documents it."""

from __future__ import annotations

import pytest

from tests.logs.programs import Ran

USERS = """
from opentelemetry.sdk.trace import TracerProvider
own = logging.StreamHandler()
own.setFormatter(logging.Formatter("%(otelTraceID)s %(otelSpanID)s %(otelServiceName)s %(otelTraceSampled)s %(message)s"))
log.addHandler(own)
log.propagate = False
log.warning("outside")
with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work") as span:
    log.warning("inside")
    ids = span.get_span_context()
    print(f"{ids.trace_id:032x} {ids.span_id:016x} shop True inside")
logging.setLogRecordFactory(logging.LogRecord)
log.warning("another factory")
log.handle(logging.LogRecord("shop", logging.WARNING, "", 0, "by hand", (), None))
"""


@pytest.fixture(autouse=True)
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_LOG_CORRELATION", "True")


def test_a_user_s_format_shows_the_trace_and_never_raises() -> None:
    ran = Ran(USERS, service="shop", output="none")
    (inside,) = ran.out
    assert [
        "0 0 shop False outside",
        inside,
        "0 0 shop False another factory",
        "0 0 shop False by hand",
    ] == ran.err


def test_the_format_and_the_level_are_those_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_LOG_FORMAT", "own %(otelServiceName)s %(message)s")
    monkeypatch.setenv("OTEL_PYTHON_LOG_LEVEL", "debug")
    ran = Ran(
        "log.debug('detail')\nassert not [name for name in exporter.get_finished_logs() if 'otelTraceID' in "
        "name.log_record.attributes]",
        level="",
        output="none",
    )
    assert (["own  detail"], ["detail"], []) == (ran.err, ran.exported, ran.out)


def test_in_a_process_that_serves_the_handler_of_the_format_stands_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_LOG_FORMAT", "own %(otelServiceName)s %(message)s")
    ran = Ran("log.info('hello')", level="")
    assert (["hello"], [], False) == (ran.messages, ran.err, "otel" in ran.out[0])


@pytest.mark.parametrize("form", [None, "%(nonsense"])
def test_upstream_s_own_format_is_used_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, form: str | None
) -> None:
    if form is not None:
        monkeypatch.setenv("OTEL_PYTHON_LOG_FORMAT", form)
    ran = Ran("log.info('hello'); log.debug('detail')", level="", output="none")
    assert ran.err[-1].endswith("[trace_id=0 span_id=0 resource.service.name= trace_sampled=False] - hello")
    assert (form is not None) == any("OTEL_PYTHON_LOG_FORMAT" in line for line in ran.err)


def test_a_name_that_no_record_has_is_one_line_and_empty_until_the_application_gives_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_LOG_FORMAT", "%(shop)s: %(message)s")
    ran = Ran("log.info('hello')\nlog.info('again', extra={'shop': 'north'})", level="", output="none")
    complaint, *printed = ran.err
    assert [": hello", "north: again"] == printed
    assert (
        "OTEL_PYTHON_LOG_FORMAT = '%(shop)s: %(message)s': no log record has shop; empty, unless" in complaint
    )


def test_without_the_variable_records_have_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_LOG_CORRELATION", "false")
    assert ["False"] == Ran("print(hasattr(logging.makeLogRecord({}), 'otelTraceID'))").out


def test_after_our_leaving_records_are_as_they_were() -> None:
    assert ["False True"] == Ran(
        "installed.remove(); print(hasattr(logging.makeLogRecord({}), 'otelTraceID'), "
        "logging.getLogRecordFactory() is logging.LogRecord)"
    ).out
