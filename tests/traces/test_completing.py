"""Spans of upstream's instrumentors on their way out."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, StatusCode

from bext_otel.traces.completing import without_literals
from bext_otel.traces.provider import BextTracerProvider
from tests.traces.test_provider import Ended

CONTRIB = "opentelemetry.instrumentation.sqlalchemy"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("select * from t where a='x' and n=42", "select * from t where a=? and n=?"),
        ("select 'it''s', 'back\\'s', ''", "select ?, ?, ?"),
        ("insert into t1 values (1, -2.5e3, 0)", "insert into t1 values (?, -?, ?)"),
        ('select a1, b.c2, $1, :2, ?3, %4 from "t 5"', 'select a1, b.c2, $1, :2, ?3, %4 from "t 5"'),
        ("select $$secret$$, $tag$it's$tag$", "select ?, ?"),
        ("select * from t where a = %s", "select * from t where a = %s"),
        ("select 'never ends", "select ?"),
        ("", ""),
    ],
)
def test_literals_of_a_statement_are_not_shown(said: str, shown: str) -> None:
    assert shown == without_literals(said)


def test_where_double_quotes_hold_text_that_is_not_shown() -> None:
    assert "select * from t where a = ?" == without_literals(
        'select * from t where a = "secret"', double=True
    )


def test_a_statement_of_quotes_takes_no_time() -> None:
    assert without_literals("'" * 100_000).startswith("?")
    assert without_literals("'\\" * 50_000).startswith("?")


def ended(scope: str, attributes: dict[str, Any], **of: Any) -> dict[str, Any]:
    kept = Ended()
    provider = BextTracerProvider(Resource({}))
    provider.add_sink(kept.spans.append, kept)
    span = provider.get_tracer(scope).start_span(
        "s", kind=of.get("kind", SpanKind.CLIENT), attributes=attributes
    )
    if "error" in of:
        span.record_exception(of["error"])
    if "status" in of:
        span.set_status(of["status"])
    span.end()
    return dict(kept.spans[0].attributes or {})


SQL = {"db.system.name": "postgresql", "db.query.text": "select 'secret'"}


def test_only_others_calls_of_databases_that_speak_sql_are_changed() -> None:
    assert "select ?" == ended(CONTRIB, SQL)["db.query.text"]
    assert (
        "select ?"
        == ended(CONTRIB, {"db.system": "mysql", "db.statement": "select 'secret'"})["db.statement"]
    )
    assert SQL == ended("shop", SQL)
    assert SQL == ended(CONTRIB, SQL, kind=SpanKind.INTERNAL)
    other = {"db.system.name": "redis", "db.query.text": "GET 'key'"}
    assert other == ended(CONTRIB, other)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"url.full": "https://shop.example:8443/a"}, ("shop.example", 8443)),
        ({"url.full": "https://shop.example/a"}, ("shop.example", None)),
        ({"url.full": "https://shop.example:many/"}, ("shop.example", None)),
        ({"url.full": "/relative"}, (None, None)),
        ({"url.full": "https://other/", "server.address": "shop"}, ("shop", None)),
    ],
)
def test_whom_a_call_goes_to_is_told_by_its_address(
    attributes: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    found = ended(CONTRIB, attributes)
    assert expected == (found.get("server.address"), found.get("server.port"))


@pytest.mark.parametrize(
    ("attributes", "of", "expected"),
    [
        ({}, {"status": StatusCode.ERROR}, "_OTHER"),
        ({"http.response.status_code": 503}, {"status": StatusCode.ERROR}, "503"),
        ({}, {"status": StatusCode.ERROR, "error": LookupError("x")}, "LookupError"),
        ({"error.type": "theirs"}, {"status": StatusCode.ERROR, "error": LookupError("x")}, "theirs"),
        ({}, {"error": LookupError("x")}, None),
    ],
)
def test_what_failed_says_how(attributes: dict[str, Any], of: dict[str, Any], expected: str | None) -> None:
    assert expected == ended(CONTRIB, attributes, **of).get("error.type")
