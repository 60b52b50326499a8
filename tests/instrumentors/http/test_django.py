"""Django: both handlers, route templates, nothing left behind."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception
from django.http import HttpResponse
from opentelemetry.trace import StatusCode

from bext_otel.catalogue import REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.django import DjangoInstrumentor
from tests.instrumentors import django_project
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import Answer, ask_async, ask_wsgi, http_scope

instrumented = instrumented_by(DjangoInstrumentor)


def by_wsgi(path: str, **more: Any) -> Answer:
    return ask_wsgi(WSGIHandler(), path, **more)


def by_asgi(path: str, **more: Any) -> Answer:
    async def one() -> Answer:
        return await ask_async(ASGIHandler(), http_scope(path, **more))

    return asyncio.run(one())


HANDLERS = pytest.mark.parametrize("ask", [by_wsgi, by_asgi])
Ask = Callable[..., Answer]


@HANDLERS
@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/items/7/", 200, "/items/<int:item>/"),
        ("/async/7/", 200, "/async/<int:item>/"),
        ("/shop/items/7", 200, "/shop/items/<int:item>"),
        ("/old/7/", 200, "/old/(?P<item>[0-9]+)/"),
        ("/missing", 404, None),
        ("/fail/", 500, "/fail/"),
    ],
)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, ask: Ask, path: str, status: int, route: str | None
) -> None:
    answer = ask(path)
    assert status == answer.status
    assert route == instrumented.attributes().get("http.route")
    assert ("GET" if route is None else f"GET {route}") == instrumented.server().name
    assert {("shop", "GET", str(status), route or "unmatched"): 1} == instrumented.counts(REQUESTS)
    assert len(answer.body) == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    assert 1 == len(instrumented.completions())
    if status == 200:
        assert b"shop" == answer.body


@HANDLERS
def test_an_unhandled_exception_is_a_500_with_its_class(instrumented: Telemetry, ask: Ask) -> None:
    ask("/fail/")
    assert (500, "LookupError") == (
        instrumented.attributes()["http.response.status_code"],
        instrumented.attributes()["error.type"],
    )
    assert StatusCode.ERROR is instrumented.server().status.status_code


@HANDLERS
def test_a_stream_is_counted_to_its_end(instrumented: Telemetry, ask: Ask) -> None:
    assert b"12345" == ask("/stream/").body
    assert 5 == instrumented.sums(REQUEST_SIZE)["shop", "response"]


def test_a_file_that_the_server_sends_counts_what_was_declared(instrumented: Telemetry) -> None:
    by_wsgi("/file/", **{"wsgi.file_wrapper": FileWrapper})
    assert Path(django_project.__file__).stat().st_size == instrumented.sums(REQUEST_SIZE)["shop", "response"]


@pytest.mark.parametrize(
    ("ask", "under"),
    [
        (by_wsgi, {"path": "/items/7/", "SCRIPT_NAME": "/api"}),
        (by_asgi, {"path": "/api/items/7/", "root_path": "/api"}),
    ],
)
def test_what_the_project_is_mounted_under_is_part_of_the_route(
    instrumented: Telemetry, ask: Ask, under: dict[str, str]
) -> None:
    ask(**under)
    assert "/api/items/<int:item>/" == instrumented.attributes()["http.route"]


def test_handlers_made_before_are_covered_and_everything_is_put_back(telemetry: Telemetry) -> None:
    attributes = [
        (owner, name)
        for owner in (WSGIHandler, ASGIHandler, BaseHandler)
        for name in ("__call__", "__init__", "resolve_request")
    ]
    before = [vars(owner).get(name) for owner, name in attributes]
    listeners, middleware = len(got_request_exception.receivers), list(settings.MIDDLEWARE)
    handler = WSGIHandler()
    for _ in range(2):
        DjangoInstrumentor().instrument()
        ask_wsgi(handler, "/fail/")
        assert "GET /fail/" == telemetry.server().name
        assert middleware == list(settings.MIDDLEWARE)
        DjangoInstrumentor().uninstrument()
        telemetry.clear()
        ask_wsgi(handler, "/fail/")
        assert [] == telemetry.servers()
    assert before == [vars(owner).get(name) for owner, name in attributes]
    assert listeners == len(got_request_exception.receivers)


@HANDLERS
def test_an_excluded_url_leaves_nothing_behind(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DJANGO_EXCLUDED_URLS", "/items/")
    DjangoInstrumentor().instrument()
    try:
        assert 200 == ask("/items/7/").status
        assert ([], {}, []) == (telemetry.spans(), telemetry.counts(REQUESTS), telemetry.records())
        assert 200 == ask("/async/7/").status
        assert 1 == len(telemetry.servers())
    finally:
        DjangoInstrumentor().uninstrument()


@HANDLERS
def test_a_route_that_the_endpoints_hide_is_told_of_once(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    DjangoInstrumentor().instrument(asgi=HidingASGI(), wsgi=HidingWSGI())
    try:
        assert [b"hidden"] * 4 == [ask(path).body for path in ("/file/", "/file/", "/none/", "/items/7/")]
    finally:
        DjangoInstrumentor().uninstrument()
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "[metrics] mount answers at /file/, where the application has a route"
    )


class Hiding:
    """Endpoints at some paths, one of which the project has as well, literally."""

    def owns(self, path: str) -> bool:
        return path in {"/file/", "/none/", "/items/7/"}


class HidingASGI(Hiding):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hidden"})


class HidingWSGI(Hiding):
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"hidden"]


def unauthorized(get_response: Any) -> Any:
    return lambda request: HttpResponse(status=401)


@HANDLERS
@pytest.mark.parametrize(
    ("path", "route"),
    [("/items/7/", "/items/<int:item>/"), ("/shop/items/7", "/shop/items/<int:item>"), ("/x", None)],
)
def test_an_answer_of_a_middleware_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch, ask: Ask, path: str, route: str | None
) -> None:
    monkeypatch.setattr(settings, "MIDDLEWARE", [f"{__name__}.unauthorized"])
    assert 401 == ask(path).status
    assert {("shop", "GET", "401", route or "unmatched"): 1} == instrumented.counts(REQUESTS)


def test_a_view_may_copy_and_pickle_what_django_gives_it(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def view(request: Any, item: int) -> HttpResponse:
        kept = {name: value for name, value in request.META.items() if not name.startswith("wsgi.")}
        seen.append(
            (kept == copy.deepcopy(kept) == pickle.loads(pickle.dumps(kept)), "bext" in repr(request.META))
        )
        return HttpResponse()

    monkeypatch.setattr(django_project.urlpatterns[0], "callback", view)
    assert 200 == by_wsgi("/items/7/").status
    assert [(True, False)] == seen
