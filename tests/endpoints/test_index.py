from __future__ import annotations

from bext_otel.endpoints.index import index
from bext_otel.endpoints.relatives import Other
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


def test_other_services_are_listed_with_where_they_can_be_asked() -> None:
    shown = [Other("shop", 12, "uvicorn", "127.0.0.1:9465"), Other("<b>", 13, "<script>", "")]
    page = index(endpoints(), shown).body.decode()
    assert '<dt>uvicorn<dd>shop, process 12: <a href="http://127.0.0.1:9465/">' in page
    assert "<dt>&lt;script&gt;<dd>&lt;b&gt;, process 13: has no port" in page
    assert "Not counted here" not in index(endpoints()).body.decode()
