from __future__ import annotations

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel.logs.quiet import quieten_exports
from tests.serving import serving


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def url() -> Iterator[str]:
    with serving(HTTPServer(("127.0.0.1", 0), Answering)) as url:
        yield url


def test_a_client_s_debug_lines_are_left_out_while_exporting_and_at_no_other_time(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="urllib3")
    undo = quieten_exports()
    with suppress_instrumentation():
        assert 204 == requests.get(url, timeout=10).status_code
        logging.getLogger("urllib3.connectionpool").warning("pool is full")
    assert ["pool is full"] == caplog.messages
    requests.get(url, timeout=10)
    assert any("204" in message for message in caplog.messages)
    undo()
    caplog.clear()
    with suppress_instrumentation():
        requests.get(url, timeout=10)
    assert any("204" in message for message in caplog.messages)
