from __future__ import annotations

import random

from bext_otel.access_policy import SlowLimits, quiet_requests


def test_a_path_is_excluded_whole_or_by_its_beginning() -> None:
    quiet = quiet_requests(("/ping", "/internal/*"), 1.0)
    assert quiet is not None
    assert [True, False, True, False] == [
        quiet(path, 200, 1) for path in ("/ping", "/pings", "/internal/x", "/internal")
    ]


def test_where_everything_is_told_nobody_is_asked() -> None:
    assert quiet_requests((), 1.0) is None


def test_a_share_of_those_that_succeeded_is_told_by_their_traces() -> None:
    quiet = quiet_requests((), 0.25)
    assert quiet is not None
    ids = [random.Random(4).getrandbits(128) for _ in range(1)] + [
        random.Random(seed).getrandbits(128) for seed in range(4000)
    ]
    told = [each for each in ids if not quiet("/", 200, each)]
    assert 0.2 < len(told) / len(ids) < 0.3
    assert told == [each for each in ids if not quiet("/other", 302, each)]
    assert not any(quiet("/", status, each) for each in ids[:100] for status in (404, 499, 0))


def test_none_at_all_may_be_told() -> None:
    quiet = quiet_requests((), 0.0)
    assert quiet is not None
    assert quiet("/", 200, 0)


def test_a_route_decides_before_an_app_and_that_before_the_rest() -> None:
    limits = SlowLimits(500.0, {"api": 100.0}, {"/reports/{id}": 5000.0})
    assert [5000.0, 100.0, 100.0, 500.0] == [
        limits("api", "/reports/{id}"),
        limits("api", "/x"),
        limits("api", None),
        limits("shop", "/x"),
    ]
