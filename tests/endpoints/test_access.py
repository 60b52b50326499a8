from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bext_otel import catalogue
from bext_otel.endpoints.access import POLICY
from bext_otel.metrics.snapshot import Family, Point, Series
from tests.endpoints.parts import endpoints, get
from tests.endpoints.snapshots import SPECIFICATION

TOKEN = "s3cret"
BEARER = f"Bearer {TOKEN}"
EXPORTED = catalogue.OTEL_SDK_EXPORTER_SPAN_EXPORTED
LABELS = (("otel.component.name", "x/0"), ("server.address", "collector.inner"), ("server.port", "4318"))
SNAPSHOT = replace(
    SPECIFICATION,
    telemetry={"queue": 7},
    families=(
        *SPECIFICATION.families,
        Family(EXPORTED.exported, "counter", "", "", [Point(Series(LABELS), 5.0)], EXPORTED),
    ),
)
MOVED = {"path": "/-/figures"}


def document(reply: Any) -> dict[str, Any]:
    assert 200 == reply.status
    return json.loads(reply.body)


def served(**parts: Any) -> Any:
    return endpoints(read=lambda: SNAPSHOT, **parts)


def test_the_table_of_the_documentation_is_that_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    for rule in POLICY.values():
        assert f"| {rule.shows} | {rule.on_loopback} | {rule.elsewhere} |" in page


@pytest.mark.parametrize("form", ["prometheus", "openmetrics", "json", "protobuf"])
def test_with_metrics_for_the_token_nobody_sees_them_without(form: str) -> None:
    guarded = served(token=TOKEN, settings={"metrics": "token"})
    for path in ("/metrics", "/__bext/metrics"):
        for trusted in (True, False):
            refused = get(guarded, path, f"format={form}", trusted=trusted)
            assert (401, 'Bearer realm="bext-otel"') == (
                refused.status,
                dict(refused.headers)["www-authenticate"],
            )
            assert 200 == get(guarded, path, f"format={form}", trusted=trusted, authorization=BEARER).status


def test_metrics_for_a_token_that_nobody_has_set_are_closed() -> None:
    closed = served(settings={"metrics": "token"})
    for authorization in ("", "Bearer ", "Bearer x"):
        assert 401 == get(closed, "/metrics", trusted=True, authorization=authorization).status


def test_the_status_of_health_is_for_everybody() -> None:
    guarded = served(token=TOKEN, settings={"metrics": "token", "platform_paths": "token"})
    for path in ("/health", "/health/live", "/health/ready", "/__bext/health"):
        assert {"status": "healthy"} == document(get(guarded, path))


def test_queues_and_backends_are_shown_on_this_machine_or_for_the_token() -> None:
    open_to_all = served(token=TOKEN)
    for page in ("prometheus", "openmetrics"):
        assert b"collector.inner" not in get(open_to_all, "/metrics", f"format={page}").body
        assert b'x/0"} 5' in get(open_to_all, "/metrics", f"format={page}").body
        for told in ({"trusted": True}, {"authorization": BEARER}):
            assert b"collector.inner" in get(open_to_all, "/metrics", f"format={page}", **told).body  # type: ignore[arg-type]
    # What else is there is on the page as well: other instruments than ours, and requests by route.
    hidden = get(open_to_all, "/metrics", "format=json")
    assert {"metrics", "routes"} == set(document(hidden)["telemetry"])
    assert b"collector.inner" not in hidden.body
    for told in ({"trusted": True}, {"authorization": BEARER}):
        assert 7 == document(get(open_to_all, "/metrics", "format=json", **told))["telemetry"]["queue"]  # type: ignore[arg-type]


def test_figures_of_the_process_want_the_token_where_one_is_set() -> None:
    """They are in the platform's specification, so they are open where nobody has said otherwise."""
    shown = round(SPECIFICATION.system["memory_mb"])
    for parts, told, expected in (
        ({}, {}, shown),
        ({"token": TOKEN}, {}, None),
        ({"token": TOKEN}, {"authorization": BEARER}, shown),
        ({"token": TOKEN}, {"trusted": True}, shown),
    ):
        found = document(get(served(**parts), "/metrics", "format=json", **told))["system"]["memory_mb"]  # type: ignore[arg-type]
        assert expected == found


def test_packed_pages_show_no_more_than_plain_ones() -> None:
    packed = get(served(), "/metrics", accept_encoding="gzip")
    assert ("content-encoding", "gzip") in packed.headers
    assert b"collector.inner" not in gzip.decompress(packed.body)


def test_moving_the_metrics_closes_the_platforms_path_to_others() -> None:
    moved = served(metrics=MOVED, token=TOKEN)
    assert [401, 200, 200] == [
        get(moved, "/__bext/metrics", **told).status  # type: ignore[arg-type]
        for told in ({}, {"trusted": True}, {"authorization": BEARER})
    ]
    assert 200 == get(moved, "/-/figures").status
    assert 200 == get(served(metrics=MOVED, settings={"platform_paths": "open"}), "/__bext/metrics").status


def test_the_platforms_path_can_be_closed() -> None:
    off = served(settings={"platform_paths": "off"})
    for path in ("/__bext/metrics", "/__bext/health", "/__bext/health/live"):
        assert not off.owns(path)
        assert off.reply("GET", path, "", {}, trusted=True) is None
    guarded = served(token=TOKEN, settings={"platform_paths": "token"})
    assert 401 == get(guarded, "/__bext/metrics", trusted=True).status
    assert [200, 200] == [
        get(guarded, "/metrics").status,
        get(guarded, "/__bext/metrics", authorization=BEARER).status,
    ]
