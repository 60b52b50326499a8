"""Which requests leave an entry, from where one is slow, and the id that is sent back."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bext_otel.access_policy import SlowLimits, quiet_requests
from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi

Use = Callable[..., Telemetry]


def answering(status: str = "200 OK", *headers: tuple[str, str]) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [("Content-Type", "text/plain"), *headers])
        return [b"hello"]

    return app


def headers_of(answer: Any) -> list[str]:
    return [value for name, value in answer.headers if name.lower() == "x-request-id"]


def test_the_id_is_sent_back_only_where_that_is_asked_for(use_telemetry: Use) -> None:
    sent = [("x-request-id", "4711")]
    use_telemetry()
    assert [] == headers_of(ask_wsgi(WSGIMiddleware(answering()), "/", headers=sent))
    use_telemetry(sends_request_id=True)
    assert ["4711"] == headers_of(ask_wsgi(WSGIMiddleware(answering()), "/", headers=sent))


def test_without_one_it_is_the_trace_s(use_telemetry: Use) -> None:
    telemetry = use_telemetry(sends_request_id=True)
    (sent,) = headers_of(ask_wsgi(WSGIMiddleware(answering()), "/"))
    assert f"{telemetry.server().context.trace_id:032x}" == sent


def test_one_that_the_application_sends_stays_the_only_one(use_telemetry: Use) -> None:
    use_telemetry(sends_request_id=True)
    app = WSGIMiddleware(answering("200 OK", ("X-REQUEST-ID", "mine")))
    assert ["mine"] == headers_of(ask_wsgi(app, "/"))


def test_a_slow_request_is_an_event_of_its_own_with_its_threshold(use_telemetry: Use) -> None:
    telemetry = use_telemetry(slow_request_ms=SlowLimits(1e6, {"shop": 0.0}, {}))
    ask_wsgi(WSGIMiddleware(answering()), "/")
    (entry,) = telemetry.completions()
    assert ("bext.request.slow", 0.0) == (
        entry.log_record.event_name,
        entry.log_record.attributes["threshold_ms"],
    )


@pytest.mark.parametrize(
    ("status", "slow_ms", "told"),
    [("200 OK", 1e6, 0), ("404 Not Found", 1e6, 0), ("503 Away", 1e6, 1), ("200 OK", 0.0, 1)],
)
def test_of_an_excluded_path_a_slow_or_failed_request_is_told(
    use_telemetry: Use, status: str, slow_ms: float, told: int
) -> None:
    telemetry = use_telemetry(quiet=quiet_requests(("/ping",), 1.0), slow_request_ms=slow_ms)
    ask_wsgi(WSGIMiddleware(answering(status)), "/ping")
    assert told == len(telemetry.completions())
    assert 1 == len(telemetry.servers())


def test_a_route_that_is_a_secret_is_told_nowhere(use_telemetry: Use) -> None:
    """Bots have their token for a path."""
    telemetry = use_telemetry()
    key = "AKIAIOSFODNN7EXAMPLE"

    async def app(scope: Any, _: Any, send: Any) -> None:
        scope["route"] = SimpleNamespace(path=f"/hooks/{key}/{{token:path}}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    ask(ASGIMiddleware(app), f"/hooks/{key}/1")
    shown = "/hooks/REDACTED[aws-key]/{token:path}"
    assert shown == telemetry.attributes()["http.route"]
    assert shown in str(telemetry.every_point(REQUESTS)[0].attributes)
    assert key not in telemetry.server().name
