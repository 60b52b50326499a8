"""A secret that is planted everywhere comes out nowhere: lines, OTLP, exporters and processors of the SDK's."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from bext_otel.export.origins import Origins
from bext_otel.export.span_encoder import SpanEncoder
from bext_otel.redaction import use_policy
from bext_otel.traces.provider import BextTracerProvider
from bext_otel.traces.span import Span
from tests.logs.conftest import Start, start  # noqa: F401  # a fixture

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.c2lnbmF0dXJlLW9m"
PLANTED = (JWT, "hunter2", "4111111111111111", "ghp_" + "a1B2" * 9, "AKIAIOSFODNN7EXAMPLE")
_OTHER = SpanContext(1 << 100, 7, is_remote=True)


class Ended(SpanProcessor):
    """What sinks and processors get."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.finished: list[ReadableSpan] = []

    def flush(self, _seconds: float, /) -> bool:
        return True

    def end(self, _seconds: float, /) -> bool:
        return True

    def on_end(self, span: ReadableSpan) -> None:
        self.finished.append(span)


def ended_span(*, processor: bool, limits: SpanLimits | None = None) -> tuple[Ended, bytes]:
    """A span with secrets in all of its parts; and its OTLP."""
    ended, origins = Ended(), Origins()
    provider = BextTracerProvider(
        Resource({"process.command_args": ("serve", f"--password={PLANTED[1]}")}), span_limits=limits
    )
    provider.add_sink(ended.spans.append, ended)
    if processor:
        provider.add_span_processor(ended)
    tracer = provider.get_tracer("shop", attributes={"token": "hunter2"})
    attributes: dict[str, Any] = {
        "password": "hunter2",
        "url.full": f"https://u:hunter2@x.example/?token=hunter2#{JWT}",
        "db.query.text": "SET PASSWORD = 'hunter2'",
        "http.request.header.authorization": ["Bearer hunter2"],
        "free": f"paid by {PLANTED[2]} with {PLANTED[3]}",
        "list": [JWT, "ok"],
        "cart": 4111111111111111,
        "kept": "as it is",
    }
    links = [Link(_OTHER, {"secret": "hunter2", "x": JWT})]
    span: Any = tracer.start_span(f"login with {JWT}", attributes=attributes, links=links)
    span.add_event(f"tried {PLANTED[4]}", {"cookie": "sid=hunter2", "text": f"it was {JWT}"})
    span.record_exception(ValueError(f"token={PLANTED[1]}"))
    span.set_status(Status(StatusCode.ERROR, f"refused {JWT}"))
    span.end()
    encoded = SpanEncoder(origins).encode(ended.spans[0])
    return ended, origins.request([encoded])


def leaks(text: object) -> list[str]:
    return [secret for secret in PLANTED if secret in str(text)]


@pytest.mark.parametrize("processor", [True, False])
def test_no_part_of_a_span_tells_a_secret(processor: bool) -> None:
    ended, otlp = ended_span(processor=processor)
    assert [] == leaks(otlp.decode("latin-1"))
    assert b"as it is" in otlp
    for finished in (*ended.finished, ended.spans[0].finished()):
        parts = (finished.name, finished.status.description, finished.attributes)
        inner = [(each.name, each.attributes) for each in finished.events]
        assert [] == leaks((parts, inner, [link.attributes for link in finished.links]))
        assert "as it is" == (finished.attributes or {})["kept"]


def test_a_value_of_a_span_is_redacted_before_it_is_cut() -> None:
    _, otlp = ended_span(processor=False, limits=SpanLimits(max_span_attribute_length=30))
    assert b"eyJ" not in otlp
    assert b"paid by REDACTED[card]" in otlp


def test_no_line_and_no_record_tells_a_secret(start: Start) -> None:
    logs = start()
    log, bound = logging.getLogger("shop"), structlog.get_logger("shop")
    log.info(
        "token=%s and %s",
        "hunter2",
        JWT,
        extra={"deep": {"a": [{"password": "hunter2"}]}, "n": 4111111111111111},
    )
    bound.info(f"paid with {PLANTED[2]}", password="hunter2", header=f"Bearer {PLANTED[3]}", ok="as it is")
    try:
        raise ValueError(f"password={PLANTED[1]}") from KeyError(JWT)
    except ValueError:
        log.exception("it failed for %s", PLANTED[4])
    logs.provider.get_logger("other").emit(
        LogRecord(
            body=f"of {JWT}",
            severity_number=SeverityNumber.INFO,
            attributes={"secret": "hunter2", "l": (JWT,)},
        )
    )
    lines = logs.lines()
    assert 3 <= len(lines)
    assert [] == leaks(lines)
    records = logs.exported()
    assert 4 == len(records)
    assert [] == leaks([(record.body, dict(record.attributes or {})) for record in records])
    assert "as it is" in str(lines)


def test_names_of_the_users_own_reach_the_fields_that_we_write(start: Start) -> None:
    use_policy(names=["app", "route", "request_id", "exception.message"])
    logs = start()
    fields = {"app": "shop", "route": "/x", "request_id": "r1"}
    structlog.get_logger("shop").info("placed", **fields)
    try:
        raise ValueError("of a customer")
    except ValueError:
        logging.getLogger("shop").exception("failed", extra={"app": "shop"})
    placed, failed = logs.lines()
    assert ["REDACTED[name]"] * 3 == [placed[name] for name in fields]
    assert ("REDACTED[name]", "REDACTED[name]") == (failed["app"], failed["exception.message"])
    assert "REDACTED[name]" == dict(logs.exported()[0].attributes or {})["app"]


def test_a_callback_hears_of_messages_and_of_what_processors_of_the_users_add(start: Start) -> None:
    use_policy(callback=lambda name, value: "plan" in str(value))
    logs = start()
    logging.getLogger("shop").info("the plan", extra={"x": "a plan", "y": "a day"})
    (line,) = logs.lines()
    assert ("REDACTED[callback]", "REDACTED[callback]", "a day") == (line["message"], line["x"], line["y"])
