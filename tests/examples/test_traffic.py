"""Demo traffic: bounded, repeatable, and a little of everything."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from bext_demo.traffic import KINDS, plan


@given(st.integers(0, 300), st.integers())
def test_a_plan_has_as_many_requests_as_were_asked_for(requests: int, seed: int) -> None:
    assert requests == sum(1 for _ in plan(requests, seed))


@given(st.integers(0, 100), st.integers())
def test_the_same_seed_gives_the_same_plan(requests: int, seed: int) -> None:
    assert list(plan(requests, seed)) == list(plan(requests, seed))


def test_every_request_says_which_codings_it_takes() -> None:
    assert {"br, gzip", "gzip", "identity"} == {
        request.headers["accept-encoding"] for request in plan(300, 1)
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_the_shortest_full_plan_meets_success_redirect_refusal_and_failure_in_each_application(
    platform: TestClient, seed: int
) -> None:
    """A 500 comes from the API's payments and the website's drafts, a 504 from a render without end, each
    status where it is meant to."""
    found: Counter[tuple[str, int]] = Counter()
    for request in plan(len(KINDS), seed):
        # What the dashboard asks of the website goes over the network, which the end-to-end test has.
        if "/price" in request.path:
            continue
        answer = platform.request(
            request.method, request.path, headers=dict(request.headers), content=request.body
        )
        found[
            "api" if "/api" in request.path else "dashboard" if "/dashboard" in request.path else "marketing",
            answer.status_code,
        ] += 1
    statuses = {(app, status) for app, status in found}
    assert {("marketing", status) for status in (200, 404, 500, 504)} == {
        pair for pair in statuses if pair[0] == "marketing"
    }
    assert {("api", status) for status in (200, 201, 405, 422, 500)} == {
        pair for pair in statuses if pair[0] == "api"
    }
    assert {("dashboard", 200)} == {pair for pair in statuses if pair[0] == "dashboard"}
