"""Applications of which `/boom` raises: of no framework by both interfaces, and Django's by both."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    if scope["path"] == "/boom":
        raise RuntimeError("out of coffee")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def bare_wsgi(environ: Any, start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/boom":
        raise RuntimeError("out of coffee")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def boom(_: Any) -> HttpResponse:
    raise RuntimeError("out of coffee")


settings.configure(SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
django.setup()
urlpatterns = [path("boom", boom), path("", lambda _: HttpResponse("ok"))]
django_wsgi, django_asgi = get_wsgi_application(), get_asgi_application()
