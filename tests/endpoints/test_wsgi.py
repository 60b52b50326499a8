from __future__ import annotations

from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from bext_otel.endpoints.endpoints import Reply
from bext_otel.endpoints.formats import text
from bext_otel.endpoints.wsgi import WSGIEndpoints, respond
from tests.endpoints.parts import endpoints
from tests.endpoints.snapshots import SPECIFICATION


class Strict(Client):
    """Closes each answer, as a server has to."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, buffered=True, **kwargs)


@pytest.fixture
def client() -> Client:
    return Strict(validator(WSGIEndpoints(endpoints(token="s3cret"))))


def test_metrics_are_served(client: Client) -> None:
    answer = client.get("/metrics")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
        answer.status_code,
        answer.headers["content-type"],
    )
    assert text.render(SPECIFICATION) == answer.data


def test_query_and_headers_arrive(client: Client) -> None:
    assert "application/json" == client.get("/metrics?format=json").headers["content-type"]
    assert "checks" not in client.get("/health").json
    assert "checks" in client.get("/health", headers={"Authorization": "Bearer s3cret"}).json


def test_head_has_no_body_and_the_length_of_get(client: Client) -> None:
    answer = client.head("/metrics")
    assert (b"", str(len(text.render(SPECIFICATION)))) == (answer.data, answer.headers["content-length"])


def test_other_methods_and_paths_are_refused(client: Client) -> None:
    assert (405, "GET, HEAD") == ((answer := client.post("/metrics")).status_code, answer.headers["allow"])
    assert 404 == client.get("/elsewhere").status_code
    assert 404 == client.get("/\N{SNOWMAN}").status_code


def test_a_mounts_prefix_is_not_part_of_the_path() -> None:
    app = DispatcherMiddleware(
        lambda environ, start_response: respond(Reply(200, "text/plain", b"app"), start_response),
        {"/ops": WSGIEndpoints(endpoints())},
    )
    assert 200 == Client(app).get("/ops/health/live").status_code
    assert b"app" == Client(app).get("/health/live").data


def test_a_visitor_cannot_pretend_to_be_trusted(client: Client) -> None:
    for environ in (
        {"REMOTE_ADDR": "127.0.0.1"},
        {"HTTP_HOST": "127.0.0.1:9464"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
    ):
        assert "checks" not in client.get("/health", environ_overrides=environ).json


def test_any_status_has_a_phrase() -> None:
    told: list[str] = []
    respond(Reply(799, "text/plain", b""), lambda status, headers: told.append(status))
    assert ["799 Unknown"] == told
