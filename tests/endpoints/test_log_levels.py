from __future__ import annotations

import json
from typing import Any

import pytest

from bext_otel import config
from bext_otel.endpoints.endpoints import Endpoints
from bext_otel.endpoints.log_levels import PATH
from bext_otel.endpoints.token import Token
from bext_otel.logs.level_watch import LevelWatch
from tests.endpoints.parts import FixedHealth, endpoints, get
from tests.logs.conftest import Start, start

__all__ = ["start"]


@pytest.fixture
def levels(start: Start) -> Any:
    installed = start(level="").installed
    assert installed.levels is not None
    watch = LevelWatch(installed.levels, tell=print)
    yield watch
    watch.close()


def served(levels: LevelWatch | None, token: str = "") -> Endpoints:
    return Endpoints(
        metrics=config.MetricsSettings(),
        health_settings=config.HealthSettings(),
        read=None,
        health=FixedHealth(),  # type: ignore[arg-type]
        token=Token(token, log=print),
        levels=levels,
    )


def asked(served: Endpoints, method: str = "GET", query: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
    reply = get(served, PATH, query, method=method, **{"trusted": True, **more})
    return reply.status, json.loads(reply.body)


def test_a_level_is_raised_told_and_taken_back(levels: LevelWatch) -> None:
    one = served(levels)
    assert (200, []) == (asked(one)[0], asked(one)[1]["orders"])
    status, told = asked(one, "PUT", "app=api&level=debug&for=10m")
    (order,) = told["orders"]
    assert (200, "api", "debug", 600) == (status, order["app"], order["level"], order["seconds_left"])
    asked(one, "PUT", "logger=shop.db&level=WARNING")
    assert [600, 3600] == [order["seconds_left"] for order in asked(one)[1]["orders"]]
    assert ["shop.db"] == [order["logger"] for order in asked(one, "DELETE", "app=api")[1]["orders"]]
    assert [] == asked(one, "DELETE")[1]["orders"]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "no level"),
        ("app=api", "no level"),
        ("level=loud", "expected one of trace, debug, info, warn, error"),
        ("level=debug&for=ever", "expected a time from 1s to 7d"),
        ("level=debug&ap=api", "'ap' is not known here"),
        ("level=debug&app=%00", "expected a name"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(levels: LevelWatch, query: str, why: str) -> None:
    status, told = asked(served(levels), "PUT", query)
    assert (400, True) == (status, why in told["error"])
    assert [] == asked(served(levels))[1]["orders"]


def test_elsewhere_than_on_our_own_loopback_listener_it_wants_the_token(levels: LevelWatch) -> None:
    guarded = served(levels, "s3cret")
    for method in ("GET", "PUT", "DELETE"):
        assert 401 == get(guarded, PATH, "level=debug", method=method).status
        assert 401 == get(guarded, PATH, "level=debug", method=method, authorization="Bearer x").status
        bearer = "Bearer s3cret"
        assert 200 == get(guarded, PATH, "level=debug", method=method, authorization=bearer).status
    assert 401 == get(served(levels), PATH, "level=debug", method="PUT", authorization="Bearer ").status


def test_other_methods_are_refused_in_words(levels: LevelWatch) -> None:
    refused = get(served(levels), PATH, method="POST", trusted=True)
    assert (405, "GET, HEAD, PUT, DELETE") == (refused.status, dict(refused.headers)["allow"])


def test_where_logging_is_not_ours_there_is_no_such_path() -> None:
    assert endpoints().reply("GET", PATH, "", {}, trusted=True) is None
