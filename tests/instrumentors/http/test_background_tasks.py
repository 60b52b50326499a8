"""Background tasks: a span each, in the trace of the request that was answered before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    StarletteInstrumentor().instrument()
    yield telemetry
    StarletteInstrumentor().uninstrument()


def write(_: str) -> None:
    """Done in a thread."""


async def send(_: str) -> None:
    """Done in the loop."""


async def fail(_: str) -> None:
    raise LookupError("no such address")


def app(task: Any) -> Starlette:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("later", background=BackgroundTask(task, "a"))

    return Starlette(routes=[Route("/", answer)])


def fastapi_app(**settings: Any) -> FastAPI:
    made = FastAPI(**settings)

    @made.get("/")
    async def answer(tasks: BackgroundTasks) -> str:
        tasks.add_task(write, "a")
        tasks.add_task(send, "b")
        return "later"

    return made


def tasks_of(telemetry: Telemetry) -> list[Any]:
    return [span for span in telemetry.spans() if "ackground" in span.name]


@pytest.mark.parametrize("task", [write, send])
def test_a_task_is_a_child_of_its_request(instrumented: Telemetry, task: Any) -> None:
    ask(app(task))
    (span,), server = tasks_of(instrumented), instrumented.server()
    assert f"BackgroundTask {task.__name__}" == span.name
    assert {"code.function.name": f"{__name__}.{task.__name__}"} == dict(span.attributes)
    assert server.context.span_id == span.parent.span_id


def test_one_that_fails_is_an_error(instrumented: Telemetry) -> None:
    with pytest.raises(LookupError):
        ask(app(fail))
    (span,) = tasks_of(instrumented)
    assert (StatusCode.ERROR, "LookupError") == (span.status.status_code, span.attributes["error.type"])


def test_fastapis_tasks_are_a_span_each_also_where_it_makes_them_itself(instrumented: Telemetry) -> None:
    ask(fastapi_app())
    found = tasks_of(instrumented)
    assert [f"{__name__}.write", f"{__name__}.send"] == [
        span.attributes["code.function.name"] for span in found
    ]
    assert {instrumented.server().context.trace_id} == {span.context.trace_id for span in found}


def test_beside_upstreams_instrumentation_there_is_one_span_a_task(instrumented: Telemetry) -> None:
    made = app(send)
    upstreams = FastAPI()
    FastAPIInstrumentor.instrument_app(upstreams, tracer_provider=instrumented.tracer_provider)
    try:
        ask(made)
    finally:
        FastAPIInstrumentor.uninstrument_app(upstreams)
    assert ["BackgroundTask send"] == [span.name for span in tasks_of(instrumented)]


def test_outside_of_a_request_and_undone_a_task_is_none_of_ours(telemetry: Telemetry) -> None:
    StarletteInstrumentor().instrument()
    StarletteInstrumentor().uninstrument()
    ask(app(send))
    assert [] == telemetry.spans()
