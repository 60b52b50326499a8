"""A small Django project: its settings and URLs in one module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.conf import settings
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path

from bext_otel.apps import current_app

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="not one",
        MIDDLEWARE=[],
        INSTALLED_APPS=[],
        DEBUG=False,
        USE_TZ=True,
    )
    import django

    django.setup()


def item(request: Any, item: int) -> HttpResponse:
    return HttpResponse(f"{current_app()}")


async def item_async(request: Any, item: int) -> HttpResponse:
    return HttpResponse(f"{current_app()}")


def fail(request: Any) -> HttpResponse:
    raise LookupError("lost")


def stream(request: Any) -> StreamingHttpResponse:
    def chunks() -> Iterator[bytes]:
        yield b"12"
        yield b"345"

    async def chunks_async() -> AsyncIterator[bytes]:
        yield b"12"
        yield b"345"

    return StreamingHttpResponse(chunks_async() if hasattr(request, "scope") else chunks())


def file(request: Any) -> FileResponse:
    return FileResponse(open(__file__, "rb"))  # Django closes it


urlpatterns = [
    path("items/<int:item>/", item),
    path("async/<int:item>/", item_async),
    path("fail/", fail),
    path("stream/", stream),
    path("file/", file),
    re_path(r"^old/(?P<item>[0-9]+)/$", item),
    path("shop/", include([path("items/<int:item>", item)])),
]
