from __future__ import annotations

import gzip
import json
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel import config
from bext_otel.endpoints import sharing
from bext_otel.endpoints.endpoints import Reply
from bext_otel.endpoints.formats import protobuf, text
from bext_otel.metrics.snapshot import Snapshot
from tests.endpoints.parts import FixedHealth, endpoints, get
from tests.endpoints.snapshots import SPECIFICATION
from tests.waiting import until

GOLDEN = Path(__file__).parents[1] / "golden" / "health.json"


def broken() -> Snapshot:
    raise RuntimeError("lock /secret/path is gone")


@pytest.mark.parametrize("path", ["/metrics", "/__bext/metrics"])
def test_metrics_are_prometheus_text(path: str) -> None:
    reply = get(endpoints(), path)
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (reply.status, reply.content_type)
    assert text.render(SPECIFICATION) == reply.body


@pytest.mark.parametrize(
    ("query", "accept", "content_type"),
    [
        (
            "",
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("format=openmetrics", "", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("format=prometheus", "application/openmetrics-text", "text/plain; version=0.0.4; charset=utf-8"),
        ("format=json", "application/openmetrics-text", "application/json"),
        ("a=b&format=JSON", "", "application/json"),
        ("format=", "", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_chosen_by_parameter_then_by_accept(query: str, accept: str, content_type: str) -> None:
    reply = get(endpoints(), "/metrics", query, accept=accept)
    assert (200, content_type) == (reply.status, reply.content_type)


def test_protobuf_is_what_a_scraper_of_native_histograms_gets() -> None:
    accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    reply = get(endpoints(), "/metrics", accept=accept)
    assert (200, protobuf.CONTENT_TYPE, protobuf.render(SPECIFICATION)) == (
        reply.status,
        reply.content_type,
        reply.body,
    )


def test_an_unknown_format_names_the_known_ones() -> None:
    reply = get(endpoints(), "/metrics", "format=xml")
    assert (400, b"unknown format 'xml': expected one of json, openmetrics, prometheus, protobuf\n") == (
        reply.status,
        reply.body,
    )


def test_gzip_is_used_where_it_is_welcome() -> None:
    packed = get(endpoints(), "/metrics", accept_encoding="gzip")
    assert ("content-encoding", "gzip") in packed.headers
    assert ("content-length", str(len(packed.body))) in packed.headers
    assert text.render(SPECIFICATION) == gzip.decompress(packed.body)
    plain = get(endpoints(), "/metrics", accept_encoding="gzip;q=0, br")
    assert "content-encoding" not in dict(plain.headers)
    assert text.render(SPECIFICATION) == plain.body


def test_head_tells_the_length_and_has_no_body() -> None:
    page = text.render(SPECIFICATION)
    reply = get(endpoints(), "/metrics", method="HEAD")
    assert (200, b"", str(len(page))) == (reply.status, reply.body, dict(reply.headers)["content-length"])


@pytest.mark.parametrize("path", ["/metrics", "/health", "/health/live", "/health/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_other_methods_are_refused(path: str, method: str) -> None:
    reply = get(endpoints(), path, method=method)
    assert (405, "GET, HEAD") == (reply.status, dict(reply.headers)["allow"])


def test_other_paths_are_not_ours() -> None:
    for path in ("/", "/metrics/", "/metricsx", "/health/x", "", "/METRICS", "*"):
        assert endpoints().reply("GET", path, "", {}, trusted=True) is None


def test_paths_are_settings() -> None:
    moved = endpoints(metrics={"path": "/-/figures"}, health_settings={"path": "/-/state"})
    assert [200] * 4 == [
        get(moved, path).status
        for path in ("/-/figures", "/-/state", "/-/state/live", "/__bext/health/ready")
    ]
    assert moved.reply("GET", "/metrics", "", {}, trusted=True) is None
    assert ("/-/figures?format=json", "metrics as JSON") in moved.listing


def test_nothing_is_kept_by_caches() -> None:
    for path in ("/metrics", "/health"):
        headers = dict(get(endpoints(), path).headers)
        assert "no-store" == headers["cache-control"]
        assert "accept-encoding" in headers["vary"]


def test_what_is_off_says_how_to_turn_it_on() -> None:
    off = endpoints(metrics={"enabled": False}, health_settings={"enabled": False})
    for path, setting in (
        ("/metrics", b"BEXT_METRICS_ENABLED"),
        ("/health", b"BEXT_HEALTH_ENABLED"),
        ("/health/ready", b"BEXT_HEALTH_ENABLED"),
    ):
        reply = get(off, path, trusted=True)
        assert 404 == reply.status
        assert setting in reply.body
    assert () == off.listing


def test_without_a_reading_metrics_are_off_and_health_answers() -> None:
    reply = get(endpoints(read=None), "/metrics")
    assert (404, True) == (reply.status, b"OTEL_SDK_DISABLED" in reply.body)
    assert 200 == get(endpoints(read=None), "/health").status


def test_a_reading_that_fails_is_a_clear_503(caplog: pytest.LogCaptureFixture) -> None:
    """One line for the client without inner details, one for the log until it is over."""
    answers = [broken, broken, lambda: SPECIFICATION, broken]
    failing = endpoints(read=lambda: answers.pop(0)())
    with caplog.at_level(logging.WARNING):
        replies = [get(failing, "/metrics", "format=json") for _ in range(4)]
    assert [503, 503, 200, 503] == [reply.status for reply in replies]
    assert b"/metrics could not be answered (RuntimeError); the next request tries again\n" == replies[0].body
    assert [
        "/metrics could not be answered: RuntimeError('lock /secret/path is gone')"
    ] * 2 == caplog.messages


def test_sixteen_concurrent_scrapers_cost_at_most_two_collections() -> None:
    """In three formats, packed and not; more only if some come when others have been answered."""
    read, together = [], threading.Barrier(16)

    def counted() -> Snapshot:
        read.append(1)
        assert everybody_asks.wait(10)
        return SPECIFICATION

    asked = endpoints(read=counted)
    everybody_asks, formats = threading.Event(), ("json", "openmetrics", "prometheus")

    def scrape(number: int) -> int:
        together.wait(10)
        return get(
            asked, "/metrics", f"format={formats[number % 3]}", accept_encoding="gzip" if number % 2 else ""
        ).status

    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(scrape, number) for number in range(16)]
        until(lambda: read)
        until(lambda: sum("get" in frames(thread) for thread in pool._threads) == 16)
        everybody_asks.set()
        assert [200] * 16 == [answer.result(20) for answer in answers]
    assert len(read) <= 2


def frames(thread: threading.Thread) -> set[str]:
    """Names of the functions that a thread is in."""
    frame, names = sys._current_frames().get(thread.ident or 0), set()
    while frame is not None:
        if frame.f_code.co_filename == sharing.__file__:
            names.add(frame.f_code.co_name)
        frame = frame.f_back
    return names


def test_health_is_as_agreed() -> None:
    """The golden file, for who may see the details."""
    reply = get(endpoints(), "/health", trusted=True)
    assert (200, "application/json") == (reply.status, reply.content_type)
    assert GOLDEN.read_bytes() == msgspec.json.format(reply.body, indent=2) + b"\n"


@pytest.mark.parametrize(
    ("status", "live", "ready", "full"),
    [("healthy", 200, 200, 200), ("degraded", 200, 200, 200), ("unhealthy", 200, 503, 503)],
)
def test_the_status_code_tells_an_orchestrator(status: str, live: int, ready: int, full: int) -> None:
    """Alive is alive, whatever the checks say."""
    asked = endpoints(health=FixedHealth(status))
    assert [live, ready, full] == [
        get(asked, path).status for path in ("/health/live", "/health/ready", "/health")
    ]


def test_each_path_asks_its_own_question() -> None:
    health = FixedHealth()
    for path in ("/health/live", "/__bext/health/ready", "/health"):
        get(endpoints(health=health), path)
    assert ["live", "ready", "full"] == health.asked


def test_health_that_cannot_be_asked_is_alive_and_not_ready() -> None:
    asked = endpoints(health=FixedHealth(broken=True))
    assert [200, 503, 503] == [
        get(asked, path).status for path in ("/health/live", "/health/ready", "/health")
    ]
    assert b"healthy" in get(asked, "/health/live").body


def detailed(reply: Reply) -> bool:
    document = json.loads(reply.body)
    assert "healthy" == document["status"]
    return "checks" in document


def test_details_want_trust_or_the_token() -> None:
    """On the application's port every visitor may look local."""
    guarded = endpoints(token="s3cret-t\u00f6ken")
    assert not detailed(get(guarded, "/health"))
    assert detailed(get(guarded, "/health", trusted=True))
    assert detailed(get(guarded, "/health", authorization="Bearer s3cret-t\u00f6ken"))
    assert detailed(get(guarded, "/health", authorization="bearer  s3cret-t\u00f6ken"))
    for wrong in (
        "Bearer s3cret",
        "Bearer ",
        "Bearer",
        "Basic s3cret-t\u00f6ken",
        "s3cret-t\u00f6ken",
        "Bearer \ud800",
    ):
        assert not detailed(get(guarded, "/health", authorization=wrong))


def test_without_a_token_no_token_opens_details() -> None:
    for header in ("Bearer ", "Bearer", "", "Bearer x"):
        assert not detailed(get(endpoints(), "/health", authorization=header))


def test_details_can_be_switched_off() -> None:
    plain = endpoints(token="s3cret", health_settings={"include_details": False})
    assert not detailed(get(plain, "/health", trusted=True, authorization="Bearer s3cret"))


@given(
    st.text(),
    st.text(),
    st.dictionaries(st.sampled_from(["accept", "accept-encoding", "authorization"]), st.text()),
)
def test_no_request_can_break_the_endpoints(method: str, query: str, headers: dict[str, str]) -> None:
    for path in ("/metrics", "/health"):
        for chosen in (method, "GET"):
            reply = endpoints(token="s3cret").reply(chosen, path, query, headers, trusted=False)
            assert reply is not None
            assert reply.status in {200, 400, 405}


@pytest.mark.parametrize(
    ("show", "trusted", "headers", "shown"),
    [
        ("", False, {}, False),
        ("", True, {}, True),
        ("never", True, {}, False),
        ("always", False, {}, True),
        ("token", True, {}, False),
        ("token", False, {"authorization": "Bearer abc"}, True),
    ],
)
def test_a_group_says_who_sees_its_checks(
    show: str, trusted: bool, headers: dict[str, str], shown: bool
) -> None:
    group = config.GroupSettings(checks=("database",), show=show)  # type: ignore[arg-type]
    asked = endpoints(token="abc", health_settings={"groups": {"storage": group}})
    reply = asked.reply("GET", "/health/storage", "", headers, trusted=trusted)
    assert reply is not None
    assert shown == ("checks" in json.loads(reply.body))
