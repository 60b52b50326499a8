"""The telemetry of FastAPI and of Starlette's own middleware, inside of ours: one server span, and all else
is kept."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask

native = pytest.importorskip("fastapi.telemetry", reason="this FastAPI has no telemetry of its own")
middleware = pytest.importorskip(
    "starlette.middleware.opentelemetry", reason="this Starlette has no such middleware"
)

OPERATIONS = {"fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization", "fastapi.background_task"}


instrumented = instrumented_by(StarletteInstrumentor)


def fastapi(**more: Any) -> FastAPI:
    app = FastAPI(**more)

    def dependency() -> int:
        trace.get_current_span().set_attribute("seen.by", "dependency")
        return 1

    @app.get("/items/{item}")
    def read(item: int, background: BackgroundTasks, found: int = Depends(dependency)) -> dict[str, int]:
        background.add_task(dependency)
        return {"item": item, "found": found}

    @app.get("/fail")
    def fail() -> None:
        raise LookupError("gone")

    return app


def kinds(spans: list[ReadableSpan]) -> tuple[list[ReadableSpan], list[ReadableSpan]]:
    return [s for s in spans if s.kind is SpanKind.SERVER], [
        s for s in spans if s.kind is not SpanKind.SERVER
    ]


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize(
    "headers", [[], [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]]
)
def test_fastapis_spans_of_operations_are_below_our_only_server_span(
    instrumented: Telemetry, mounted: bool, headers: Any
) -> None:
    app: Any = Starlette(routes=[Mount("/api", fastapi())]) if mounted else fastapi()
    prefix = "/api" if mounted else ""
    assert 200 == ask(app, f"{prefix}/items/1", headers=headers).status
    (server,), inner = kinds(instrumented.spans())
    assert ("bext_otel", f"GET {prefix}/items/{{item}}") == (server.instrumentation_scope.name, server.name)
    assert {span.name for span in inner} == OPERATIONS
    assert {server.context.trace_id} == {span.context.trace_id for span in inner}
    assert {server.context.span_id} == {span.parent.span_id for span in inner}
    assert {("shop", "GET", "200", f"{prefix}/items/{{item}}"): 1} == instrumented.counts(REQUESTS)
    assert [1] == list(instrumented.counts(HTTP_SERVER_REQUEST_DURATION).values())


def test_fastapis_records_and_data_are_kept(instrumented: Telemetry) -> None:
    app = fastapi(telemetry={"logger_provider": instrumented.logger_provider})
    assert 422 == ask(app, "/items/none").status
    with suppress(LookupError):
        ask(app, "/fail")
    records = [data for data in instrumented.records() if data.instrumentation_scope.name == "fastapi"]
    assert ["fastapi.validation.failed", "http.server.request.exception"] == [
        data.log_record.event_name for data in records
    ]
    assert ["/items/{item}", "/fail"] == [data.log_record.attributes["http.route"] for data in records]
    assert native.get_telemetry_data() is None


def test_operations_that_the_application_turned_off_stay_off(instrumented: Telemetry) -> None:
    ask(fastapi(telemetry={"operation_spans": False}), "/items/1")
    ask(fastapi(telemetry={"tracing": False}), "/items/1")
    assert {"bext_otel"} == {span.instrumentation_scope.name for span in instrumented.spans()}


def test_providers_that_the_application_gave_fastapi_get_everything(instrumented: Telemetry) -> None:
    theirs = Telemetry()
    ask(
        fastapi(
            telemetry={"tracer_provider": theirs.tracer_provider, "meter_provider": theirs.meter_provider}
        ),
        "/items/1",
    )
    (server,), inner = kinds(theirs.spans())
    assert ("fastapi", OPERATIONS) == (server.instrumentation_scope.name, {span.name for span in inner})
    assert [1] == list(theirs.counts(HTTP_SERVER_REQUEST_DURATION).values())
    assert "bext_otel" == instrumented.server().instrumentation_scope.name
    assert [1] == list(instrumented.counts(HTTP_SERVER_REQUEST_DURATION).values())


def test_the_processs_own_providers_given_by_hand_are_no_others(instrumented: Telemetry) -> None:
    given = {"tracer_provider": instrumented.tracer_provider, "meter_provider": instrumented.meter_provider}
    ask(fastapi(telemetry=given), "/items/1")
    assert OPERATIONS == {span.name for span in kinds(instrumented.spans())[1]}
    assert "bext_otel" == instrumented.server().instrumentation_scope.name
    assert [1] == list(instrumented.counts(HTTP_SERVER_REQUEST_DURATION).values())


async def hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


def starlette(**more: Any) -> Starlette:
    return Starlette(
        routes=[Route("/a/{b}", hello)], middleware=[Middleware(middleware.OpenTelemetryMiddleware, **more)]
    )


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_starlettes_own_middleware_adds_no_second_server_span(
    instrumented: Telemetry, by_hand: bool, given: bool
) -> None:
    app: Any = starlette(tracer_provider=instrumented.tracer_provider) if given else starlette()
    assert 200 == ask(ASGIMiddleware(app) if by_hand else app, "/a/1").status
    assert ("GET /a/{b}", "bext_otel") == (
        instrumented.server().name,
        instrumented.server().instrumentation_scope.name,
    )


def test_starlettes_own_middleware_below_ours_by_hand_only(telemetry: Telemetry) -> None:
    ask(ASGIMiddleware(starlette()), "/a/1")
    assert "bext_otel" == telemetry.server().instrumentation_scope.name


def test_starlettes_own_middleware_outside_of_ours_stands_for_the_request(instrumented: Telemetry) -> None:
    ask(middleware.OpenTelemetryMiddleware(starlette()), "/a/1")
    assert ("starlette", "shop") == (
        instrumented.server().instrumentation_scope.name,
        instrumented.attributes()["bext.app"],
    )


def test_a_provider_that_the_application_gave_starlettes_middleware_gets_its_span(
    instrumented: Telemetry,
) -> None:
    theirs = Telemetry()
    ask(starlette(tracer_provider=theirs.tracer_provider), "/a/1")
    assert ("starlette", "bext_otel") == (
        theirs.server().instrumentation_scope.name,
        instrumented.server().instrumentation_scope.name,
    )


def test_undone_they_are_as_they_were(instrumented: Telemetry) -> None:
    StarletteInstrumentor().uninstrument()
    ask(starlette(), "/a/1")
    ask(fastapi(), "/items/1")
    assert ["starlette", "fastapi"] == [span.instrumentation_scope.name for span in instrumented.servers()]
