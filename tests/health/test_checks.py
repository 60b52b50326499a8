from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.health.checks import Check, Status, combined, found, weighed

statuses: st.SearchStrategy[list[Status]] = st.lists(st.sampled_from(["healthy", "degraded", "unhealthy"]))


def test_nothing_to_check_is_healthy() -> None:
    assert "healthy" == combined([])


@given(statuses, statuses, statuses)
def test_combining_is_associative(a: list[Status], b: list[Status], c: list[Status]) -> None:
    assert combined([combined([*a, *b]), *c]) == combined([*a, combined([*b, *c])]) == combined([*a, *b, *c])


@given(statuses, st.randoms())
def test_combining_does_not_depend_on_the_order(some: list[Status], random: object) -> None:
    shuffled = some[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert combined(some) == combined(shuffled)


@given(statuses)
def test_combining_a_status_with_itself_changes_nothing(some: list[Status]) -> None:
    assert combined(some) == combined([*some, *some])


@given(statuses)
def test_the_whole_is_as_bad_as_its_worst_part(some: list[Status]) -> None:
    assert ("unhealthy" in some) == (combined(some) == "unhealthy")
    assert (set(some) <= {"healthy"}) == (combined(some) == "healthy")


def test_what_is_not_critical_only_degrades() -> None:
    assert ["healthy", "degraded", "degraded"] == [
        weighed(status, critical=False) for status in ("healthy", "degraded", "unhealthy")
    ]
    assert ["healthy", "degraded", "unhealthy"] == [
        weighed(status, critical=True) for status in ("healthy", "degraded", "unhealthy")
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, Check.healthy()),
        (True, Check.healthy()),
        (0, Check.healthy()),
        (False, Check.unhealthy()),
        ({"entries": 4573}, Check.healthy(entries=4573)),
        ({"status": "degraded", "entries": 1}, Check.degraded(entries=1)),
        ({"status": "splendid", "entries": 1}, Check.healthy(entries=1)),
        (Check.degraded(lag=3), Check.degraded(lag=3)),
    ],
)
def test_an_answer_is_read_as_meant(answer: object, expected: Check) -> None:
    assert expected == found(answer)


def test_details_never_hide_status_or_latency() -> None:
    check = Check("healthy", {"status": "odd", "latency_ms": -1, "active": 8}, latency_ms=2.04)
    assert {"status": "healthy", "latency_ms": 2.0, "active": 8} == check.document()


def test_any_detail_can_be_written_as_json() -> None:
    check = Check.healthy(rate=math.inf, thing=object, name="\ud800", many={1})
    document = json.loads(json.dumps(check.document(), allow_nan=False).encode())
    assert {
        "status": "healthy",
        "rate": None,
        "thing": "<class 'object'>",
        "name": "�",
        "many": [1],
    } == document


def test_what_a_check_tells_holds_no_secret() -> None:
    check = found(
        {"password": "hunter2", "dsn": "host=db password=hunter2", "urls": ["redis://:hunter2@db/0"]}
    )
    document = check.document()
    assert "hunter2" not in json.dumps(document)
    assert ("***", "host=db password=REDACTED") == (document["password"], document["dsn"])
    assert {"status": "healthy", "rows": 3, "code": 200} == found({"rows": 3, "code": 200}).document()
