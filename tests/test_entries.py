"""Log entries of ours: one record each, in the context of its work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import _logs, context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from bext_otel.entries import MAX_STACKTRACE, describe_exception, emit, exception_facts

HERE = trace.set_span_in_context(
    NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)))
)


class Level(SimpleLogRecordProcessor):
    """Wants nothing below a level."""

    def enabled(self, *, severity_number: SeverityNumber | None = None, **_: Any) -> bool:  # type: ignore[override]
        return severity_number is not None and severity_number.value >= SeverityNumber.INFO.value


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryLogRecordExporter]:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(Level(exporter))
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_entry_has_its_fields_and_the_span_that_it_belongs_to(records: InMemoryLogRecordExporter) -> None:
    emit("bext.test", SeverityNumber.WARN, "slow", {"app": "shop"}, here=HERE)
    (data,) = records.get_finished_logs()
    log = data.log_record
    assert ("slow", "WARN", SeverityNumber.WARN) == (log.body, log.severity_text, log.severity_number)
    assert {"app": "shop"} == dict(log.attributes or {})
    assert (1, 2) == (log.trace_id, log.span_id)
    assert "bext.test" == data.instrumentation_scope.name
    assert log.timestamp is not None
    assert log.timestamp == log.observed_timestamp


def test_without_a_span_of_its_own_it_belongs_to_the_current_one(records: InMemoryLogRecordExporter) -> None:
    token = context.attach(HERE)
    try:
        emit("bext.test", SeverityNumber.INFO, "here", {})
    finally:
        context.detach(token)
    emit("bext.test", SeverityNumber.INFO, "elsewhere", {})
    assert [2, 0] == [data.log_record.span_id for data in records.get_finished_logs()]


def test_what_nobody_wants_to_hear_is_not_made(records: InMemoryLogRecordExporter) -> None:
    emit("bext.test", SeverityNumber.DEBUG, "first", {})
    emit("bext.test", SeverityNumber.INFO, "second", {})
    assert ["second"] == [data.log_record.body for data in records.get_finished_logs()]


def test_an_entry_goes_to_the_provider_that_is_set_now(
    records: InMemoryLogRecordExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit("bext.test", SeverityNumber.INFO, "first", {})
    later = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(later))
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)
    emit("bext.test", SeverityNumber.INFO, "second", {})
    assert (["first"], ["second"]) == tuple(
        [data.log_record.body for data in exporter.get_finished_logs()] for exporter in (records, later)
    )
    provider.shutdown()


def test_an_exception_is_told_by_the_semantic_conventions(records: InMemoryLogRecordExporter) -> None:
    emit(
        "bext.test", SeverityNumber.ERROR, "failed", {"app": "shop"}, error=raised(ValueError("no such page"))
    )
    (data,) = records.get_finished_logs()
    found = dict(data.log_record.attributes)
    assert found.pop("exception.stacktrace").endswith("ValueError: no such page\n")
    assert {
        "app": "shop",
        "exception.type": "ValueError",
        "exception.message": "no such page",
        "exceptions": ({"type": "ValueError", "message": "no such page"},),
    } == found


def test_an_exception_of_a_library_is_named_in_full() -> None:
    assert f"{__name__}.Odd" == describe_exception(Odd())["exception.type"]


class Odd(Exception):
    """Says nothing of itself."""

    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


def test_one_that_cannot_say_what_it_is_is_told_all_the_same() -> None:
    found = describe_exception(raised(Odd()))
    assert "<unprintable Odd>" == found["exception.message"]
    assert "in raised" in found["exception.stacktrace"]


def test_what_it_says_is_bounded_and_can_be_written() -> None:
    found = describe_exception(raised(ValueError("\ud800" + "x" * 2 * MAX_STACKTRACE + "the end")))
    assert ("\ufffd", MAX_STACKTRACE) == (found["exception.message"][0], len(found["exception.message"]))
    assert (MAX_STACKTRACE, True) == (
        len(found["exception.stacktrace"]),
        found["exception.stacktrace"].rstrip().endswith("the end"),
    )


def chain_of(depth: int) -> BaseException:
    """One that was raised while another was handled, and so on."""
    error: BaseException = ValueError("0")
    for number in range(1, depth):
        outer = ValueError(str(number))
        outer.__context__ = error
        error = outer
    return error


def facts(error: BaseException) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = exception_facts(error)["exceptions"]
    return found


def test_what_led_to_an_exception_is_told_and_how() -> None:
    error = ValueError("while")
    error.__context__ = KeyError("hidden")
    error.__cause__ = OSError("because")
    assert [("ValueError", None, None), ("OSError", "cause", 0)] == [
        (each["type"], each.get("relation"), each.get("of")) for each in facts(error)
    ]


def test_a_context_that_was_suppressed_is_not_told() -> None:
    error = ValueError("x")
    error.__context__, error.__suppress_context__ = KeyError("hidden"), True
    assert 1 == len(facts(error))


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert ["one", "other"] == [each["message"] for each in facts(one)]


def test_depth_and_number_are_bounded_and_what_is_left_out_is_counted() -> None:
    deep = facts(chain_of(1000))
    assert (9, {"left_out": 1}) == (len(deep) - 1, deep[-1])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no exception groups")
def test_members_of_a_group_are_told_with_their_group() -> None:
    group = ExceptionGroup  # type: ignore[name-defined,unused-ignore]  # noqa: F821
    error = group("all", [ValueError("a"), group("inner", [KeyError(str(number)) for number in range(30)])])
    told = facts(error)
    assert ("ExceptionGroup", "ValueError", "ExceptionGroup", "KeyError") == tuple(
        each["type"] for each in told[:4]
    )
    assert (0, 0, 2) == tuple(each["of"] for each in told[1:4])
    assert (17, {"left_out": 18 - 1}) == (len(told), told[-1])
