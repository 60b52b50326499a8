"""A plain Django project in one file: `application` for WSGI servers, `asgi` for ASGI servers."""

import logging
import os

import django
import requests
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="no secret", LOGGING_CONFIG=None)
django.setup()
log = logging.getLogger("shop")


def item(request: HttpRequest, item: str) -> JsonResponse:
    log.warning("item read", extra={"item": item})
    return JsonResponse({"pid": os.getpid()})


def fail(request: HttpRequest) -> JsonResponse:
    raise RuntimeError("out of coffee")


def headers(request: HttpRequest) -> JsonResponse:
    return JsonResponse([(name.lower(), value) for name, value in request.headers.items()], safe=False)


def relay(request: HttpRequest) -> JsonResponse:
    return JsonResponse(requests.get(os.environ["DOWNSTREAM"], timeout=20).json(), safe=False)


urlpatterns = [
    path("items/<item>", item),
    path("fail", fail),
    path("headers", headers),
    path("relay", relay),
    path("shop/", include([path("items/<item>", item)])),
]
application = get_wsgi_application()
asgi = get_asgi_application()
