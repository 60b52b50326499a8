"""Applications of Django."""

from __future__ import annotations

from tests.applications.application import Application
from tests.applications.normalising import DATES, TIMES, Rule
from tests.applications.seeded import ask, get

WAGTAIL = Application(
    name="wagtail",
    command="python manage.py runserver --noreload 127.0.0.1:{port}",
    setup=(
        "wagtail start mysite .",
        "python manage.py migrate",
        "python manage.py createsuperuser --noinput --username admin --email admin@example.com",
    ),
    variables={"DJANGO_SUPERUSER_PASSWORD": "changed"},
    script=[
        ask(
            "POST",
            "/admin/login/",
            b"username=admin&password=wrong",
            Content_Type="application/x-www-form-urlencoded",
        ),
        ask("POST", "/search/", b"query=home"),
        get("/admin"),
    ],
    reads=[
        get("/"),
        get("/search/?query=home"),
        get("/search/?query=nothing&page=99"),
        get("/admin/"),
        get("/admin/login/?next=/admin/pages/"),
        get("/admin/pages/3/edit/"),
        get("/django-admin/login/"),
        get("/documents/1/none.pdf"),
        get("/static/css/mysite.css"),
        get("/static/none.css"),
        get("/no-such-page/"),
    ],
    routes=frozenset(
        {
            "/search/",
            "/static/(?P<path>.*)",
            r"/((?:[\w\-]+/)*)",
            "/django-admin/login/",
            r"/documents/(\d+)/(.*)",
            "/admin/",
            "/admin/login/",
            "/admin/pages/<int:page_id>/edit/",
        }
    ),
    rules=(
        DATES,
        TIMES,
        Rule("tokens against forgery", r"(csrftoken=|csrfmiddlewaretoken\" value=\")\w+", r"\1TOKEN"),
        Rule("tokens against forgery", r"CSRF_TOKEN\": \"\w+", "TOKEN"),
        Rule("nonces", r"nonce=\"[^\"]+\"", "NONCE"),
    ),
)
