"""Django's test clients: what a project's own tests of its telemetry find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient, Client
from opentelemetry.trace import StatusCode

from bext_otel.catalogue import REQUEST_SIZE
from bext_otel_instrumentors.http.django import DjangoInstrumentor
from tests.instrumentors import django_project
from tests.instrumentors.conftest import Telemetry, instrumented_by

instrumented = instrumented_by(DjangoInstrumentor)


def by_client(path: str) -> Any:
    return Client(raise_request_exception=False).get(path)


def by_async_client(path: str) -> Any:
    async def one() -> Any:
        return await AsyncClient(raise_request_exception=False).get(path)

    return asyncio.run(one())


CLIENTS = pytest.mark.parametrize("ask", [by_client, by_async_client])
Ask = Callable[[str], Any]


@CLIENTS
def test_a_request_of_a_test_client_is_over_when_the_client_has_its_answer(
    instrumented: Telemetry, ask: Ask
) -> None:
    answer = ask("/items/7/")
    assert 200 == answer.status_code
    assert "GET /items/<int:item>/" == instrumented.server().name
    assert len(answer.content) == sum(instrumented.sums(REQUEST_SIZE).values())


@CLIENTS
def test_what_a_view_fails_at_is_on_the_span(instrumented: Telemetry, ask: Ask) -> None:
    assert 500 == ask("/fail/").status_code
    assert ("LookupError", StatusCode.ERROR) == (
        instrumented.attributes()["error.type"],
        instrumented.server().status.status_code,
    )


@CLIENTS
def test_a_stream_reaches_the_client(instrumented: Telemetry, ask: Ask) -> None:
    async def read(answer: Any) -> bytes:
        return b"".join([chunk async for chunk in answer])

    answer = ask("/stream/")
    assert b"12345" == (asyncio.run(read(answer)) if answer.is_async else answer.getvalue())
    assert "GET /stream/" == instrumented.server().name


def test_what_a_client_raises_is_the_views_own(instrumented: Telemetry) -> None:
    with pytest.raises(LookupError, match="lost"):
        Client().get("/fail/")
    assert "GET /fail/" == instrumented.server().name


def test_a_request_for_the_client_within_a_request_is_one_of_its_own(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.http import HttpResponse
    from django.urls import clear_url_caches, path

    def asks(request: Any) -> HttpResponse:
        return HttpResponse(Client().get("/items/7/").content)

    monkeypatch.setattr(django_project, "urlpatterns", [*django_project.urlpatterns, path("asks/", asks)])
    clear_url_caches()
    by_client("/asks/")
    monkeypatch.undo()
    clear_url_caches()
    assert {"GET /asks/", "GET /items/<int:item>/"} == {span.name for span in instrumented.spans()}
