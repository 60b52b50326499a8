from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.health.checks import Check, Status
from bext_otel.health.standing import Patience, Standing, timed_out

ONCE = Patience(interval_seconds=10, timeout_seconds=2)
STATUSES = st.sampled_from(["healthy", "degraded", "unhealthy"])


def standing(statuses: list[Status], patience: Patience) -> Standing:
    """After one result each ten seconds."""
    found = Standing.first(Check(statuses[0]), 0)
    for number, status in enumerate(statuses[1:], 1):
        found = found.after(Check(status), 10 * number, patience)
    return found


@given(st.lists(STATUSES, min_size=1))
def test_with_a_patience_of_one_the_last_result_holds(statuses: list[Status]) -> None:
    assert statuses[-1] == standing(statuses, ONCE).status


@given(st.lists(STATUSES, min_size=1), st.integers(1, 5), st.integers(1, 5))
def test_a_status_never_holds_that_as_many_results_in_a_row_contradict(
    statuses: list[Status], failures: int, successes: int
) -> None:
    found = standing(statuses, Patience(10, 2, failures, successes))
    tail = statuses[-max(failures, successes) :]
    if len(tail) == max(failures, successes) and len(set(tail)) == 1:
        assert tail[0] == found.status
    assert found.status in statuses


@given(st.lists(STATUSES, min_size=1), st.integers(2, 5))
def test_a_status_turns_to_what_the_newest_result_said(statuses: list[Status], needed: int) -> None:
    found = standing(statuses, Patience(10, 2, needed, needed))
    turned = int(found.since // 10)
    assert found.status == statuses[turned]


def test_what_is_about_to_turn_says_so() -> None:
    patience = Patience(10, 2, failures=3)
    check = standing(["healthy", "unhealthy", "unhealthy"], patience).shown(20, patience, in_time=False)
    assert ("healthy", "unhealthy, 2 in a row") == (check.status, check.details["turning"])


def test_being_too_late_turns_at_once_where_that_is_wanted() -> None:
    patience = Patience(10, 2, failures=3)
    found = Standing.first(Check.healthy(), 0).after(timed_out(patience), 10, patience, at_once=True)
    assert "unhealthy" == found.status


def test_a_result_older_than_three_intervals_does_not_count_unless_the_next_is_on_its_way() -> None:
    found = Standing.first(Check.healthy(), 0)
    ages = [(30, False), (31, False), (31, True)]
    assert ["healthy", "unhealthy", "healthy"] == [
        found.shown(now, ONCE, in_time=in_time).status for now, in_time in ages
    ]
