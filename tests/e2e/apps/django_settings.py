"""A Django project for `django-admin runserver`."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

ALLOWED_HOSTS = ["*"]
DEBUG = True
SECRET_KEY = "no secret"
ROOT_URLCONF = __name__
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL = "/static/"


def item(request: HttpRequest, item: str) -> HttpResponse:
    return HttpResponse(item)


urlpatterns = [path("items/<item>", item)]
