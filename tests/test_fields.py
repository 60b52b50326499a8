"""Fields of the application's own, on every line of the work that they were bound in, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.context import Context, set_value

from bext_otel import bind, bound, fields
from bext_otel.fields import HOLDER, FieldSettings, Holder, add_to, carried, restored, use
from tests.fresh import fresh


@pytest.fixture(autouse=True)
def clean_context(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    token = context.attach(Context())
    monkeypatch.setattr(fields, "_settings", FieldSettings())
    monkeypatch.setattr(fields, "used", False)
    monkeypatch.setattr(fields, "_dropped", 0)
    monkeypatch.setattr(fields, "_others", None)
    yield
    context.detach(token)


@pytest.fixture
def request_() -> Holder:
    """Work that keeps fields by itself."""
    holder = Holder()
    context.attach(set_value(HOLDER, holder))
    return holder


def test_a_call_binds_until_the_work_ends(request_: Holder) -> None:
    bind(tenant="acme")
    bind(user=7)
    assert {"tenant": "acme", "user": 7} == bound() == request_.fields


def test_a_call_in_a_copy_of_the_context_is_heard_by_the_request(request_: Holder) -> None:
    """As of a thread that a framework calls a handler in."""

    async def handler() -> None:
        await asyncio.to_thread(bind, tenant="acme")

    asyncio.run(handler())
    assert {"tenant": "acme"} == bound()


def test_a_body_binds_for_itself(request_: Holder) -> None:
    bind(tenant="acme")
    with bind(tenant="other", step="a"), bind(step="b"):
        assert {"tenant": "other", "step": "b"} == bound()
        bind(user=7)
    assert {"tenant": "acme", "user": 7} == bound()


def test_without_work_that_keeps_them_it_is_the_same() -> None:
    bind(tenant="acme")
    with bind(tenant="other"):
        assert {"tenant": "other"} == bound()
    assert {"tenant": "acme"} == bound()


def test_a_decorator_binds_for_each_call() -> None:
    @bind(step="a")
    def plain() -> Mapping[str, object]:
        return bound()

    @bind(step="b")
    async def awaited() -> Mapping[str, object]:
        await asyncio.sleep(0)
        return bound()

    assert {} == bound()
    assert ({"step": "a"}, {"step": "a"}) == (plain(), plain())
    assert {"step": "b"} == asyncio.run(awaited())
    assert {} == bound()
    with pytest.raises(TypeError, match="gen is a generator"):

        @bind(step="c")
        def gen() -> Iterator[int]:
            yield 1


def test_tasks_that_run_side_by_side_do_not_see_each_other() -> None:
    async def work(name: str) -> Mapping[str, object]:
        async with bind(name=name):
            await asyncio.sleep(0)
            return bound()

    async def both() -> list[Mapping[str, object]]:
        return await asyncio.gather(work("a"), work("b"))

    assert [{"name": "a"}, {"name": "b"}] == asyncio.run(both())


class Odd:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("x" * 300, "x" * 256),
        (2**70, str(2**70)),
        ([1], "[1]"),
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("\ud800", "\ufffd"),
        ("https://a.example/?token=abc", "https://a.example/?token=REDACTED"),
        (Odd(), "<unprintable Odd>"),
    ],
)
def test_values_are_bounded_and_can_be_written(given: Any, shown: object) -> None:
    bind(value=given)
    assert {"value": shown} == bound()


@pytest.mark.parametrize("before", ["", "x" * 250])
def test_secrets_by_their_looks_are_redacted_also_where_the_value_is_cut(before: str) -> None:
    bind(note=f"{before} Bearer abcdefghijklmnopqrstuvwxyz0123456789")
    assert "abcd" not in str(bound()["note"])


def test_secrets_by_their_names_are_redacted() -> None:
    bind(api_token="abc", password="abc", tenant="acme")
    assert {"api_token": "REDACTED", "password": "REDACTED", "tenant": "acme"} == bound()


def test_there_is_room_for_so_many_and_the_rest_is_counted(request_: Holder) -> None:
    for number in range(40):
        bind(**{f"f{number}": number})
    bind(f0="changed")
    assert 32 == len(bound())
    assert "changed" == bound()["f0"]
    assert {"log_fields_dropped": 8} == fields.figures()


def test_what_a_line_says_itself_stands() -> None:
    said: dict[str, Any] = {"tenant": "mine"}
    with bind(tenant="acme", user=7):
        add_to(said, context.get_current())
    assert {"tenant": "mine", "user": 7} == said


def test_nothing_is_looked_for_while_nothing_was_bound() -> None:
    assert not fields.used
    bind()
    assert not fields.used
    bind(tenant="acme")
    assert fields.used


def test_baggage_that_the_operator_names_is_a_field() -> None:
    use(FieldSettings(baggage=("tenant", "token")))
    here = baggage.set_baggage("other", "x", baggage.set_baggage("tenant", "acme"))
    here = baggage.set_baggage("token", "abc", here)
    assert {"tenant": "acme", "token": "REDACTED"} == fields.fields_of(here)
    assert fields.used


def test_tasks_inherit_what_the_operator_names() -> None:
    bind(tenant="acme", user=7)
    assert "" == carried(context.get_current())
    use(FieldSettings(tasks=frozenset({"tenant"})))
    text = carried(context.get_current())
    assert {"tenant": "acme"} == restored(text)
    assert {} == restored('{"user": 7}')


def test_what_came_with_a_task_is_on_lines_where_nothing_was_bound_ever() -> None:
    """A worker whose tasks bind nothing themselves."""
    use(FieldSettings(tasks=frozenset({"tenant"})))
    assert not fields.used
    restored('{"tenant": "acme"}')
    assert fields.used


@pytest.mark.parametrize("text", [None, 7, "", "[", "[1]", "{" * 2000, '{"tenant": ' + "[" * 4000])
def test_what_no_message_of_ours_says_is_nothing(text: object) -> None:
    use(FieldSettings(tasks=frozenset({"tenant"})))
    assert {} == restored(text)


_APP = """
import logging, sys
import bext_otel
from opentelemetry.sdk._logs import LogRecordProcessor

class Mine(LogRecordProcessor):
    def on_emit(self, log_record):
        log_record.log_record.attributes["seen"] = sorted(
            name for name in log_record.log_record.attributes if name in ("tenant", "lib", "user"))
    def shutdown(self): pass
    def force_flush(self, timeout_millis=0): return True

bext_otel.configure(log_record_processors=[Mine()] if {processor} else [])
import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

log = logging.getLogger("shop")
log.setLevel(logging.INFO)

def in_thread():
    bext_otel.bind(tenant="acme")
    structlog.contextvars.bind_contextvars(lib="s")
    log.info("from a thread")

async def page(request):
    await run_in_threadpool(in_thread)
    log.info("from logging")
    structlog.get_logger("shop.s").info("from structlog", own=1)
    if request.query_params.get("crash"):
        raise KeyError("gone")
    return PlainTextResponse("ok")

app = Starlette(routes=[Route("/", page)])
client = TestClient(app, raise_server_exceptions=False)
client.get("/")
log.info("outside")
client.get("/?crash=1")
from opentelemetry import trace
show(None)
"""


@pytest.mark.parametrize("processor", [False, True])
def test_every_line_of_a_request_has_them(tmp_path: Path, processor: bool) -> None:
    """Bound in a thread of the framework's: on its own lines, structlog's and the request's."""
    _, lines = fresh(_APP.replace("{processor}", str(processor)), tmp_path)
    by_message: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_message.setdefault(line["message"], []).append(line)
    told = ("from a thread", "from logging", "from structlog", "request completed")
    for message in told:
        assert [("acme", "s")] * 2 == [
            (line.get("tenant"), line.get("lib")) for line in by_message[message]
        ], message
    assert [None] == [line.get("tenant") for line in by_message["outside"]]
    assert "KeyError" in by_message["request completed"][1]["exception.stacktrace"]
    if processor:
        assert all(["lib", "tenant"] == line["seen"] for message in told for line in by_message[message])


def test_spans_show_what_the_operator_names(tmp_path: Path) -> None:
    code = """
import bext_otel
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans = InMemorySpanExporter()
bext_otel.configure(span_processors=[SimpleSpanProcessor(spans)])
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

def page(request):
    with trace.get_tracer("t").start_as_current_span("inner"):
        bext_otel.bind(tenant="acme", user=7)
    return PlainTextResponse("ok")

TestClient(Starlette(routes=[Route("/", page)])).get("/")
show({span.name: [span.attributes.get("tenant"), span.attributes.get("user")] for span in spans.get_finished_spans()})
"""
    shown, _ = fresh(code, tmp_path, BEXT_LOGGING_SPAN_FIELDS="tenant")
    assert {"inner": ["acme", None], "GET /": ["acme", None]} == shown
