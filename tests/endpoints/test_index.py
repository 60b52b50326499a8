from __future__ import annotations

from bext_otel.endpoints.index import index
from tests.endpoints.parts import endpoints


def test_the_page_links_what_is_on() -> None:
    page = index(endpoints(health_settings={"enabled": False})).body.decode()
    assert '<a href="/metrics?format=json">' in page
    assert "/health" not in page


def test_a_path_cannot_bring_markup() -> None:
    assert b"<script>" not in index(endpoints(metrics={"path": "/<script>"})).body


def test_nothing_on_is_said() -> None:
    assert (
        b"both off" in index(endpoints(metrics={"enabled": False}, health_settings={"enabled": False})).body
    )
