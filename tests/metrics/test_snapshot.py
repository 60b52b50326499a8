from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel import catalogue
from bext_otel.metrics.snapshot import Exemplar, Family, Numbers, Point, Series, Snapshot


@pytest.mark.specification("Beyond the rows", "Prometheus: label values are escaped")
@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((), ""),
        ((("app", "a"), ("route", "/x")), 'app="a",route="/x"'),
        (
            (("http.route", "/x"), ("1st", "y"), ("__name__", "z"), ("", "w")),
            'http_route="/x",_1st="y",_name_="z",_="w"',
        ),
        ((("a.b", "1"), ("a_b", "2")), 'a_b="1;2"'),
        ((("app", 'say "hi"\\\nthere'),), 'app="say \\"hi\\"\\\\\\nthere"'),
        ((("app", "\0\ud800é"),), 'app="\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}é"'),
    ],
)
def test_labels_are_written_as_prometheus_writes_them(labels: tuple[tuple[str, str], ...], text: str) -> None:
    assert text == Series(labels).text


@given(st.lists(st.tuples(st.text(), st.text())))
def test_any_labels_can_be_written(labels: list[tuple[str, str]]) -> None:
    """As one line of UTF-8 without NUL."""
    written = Series(tuple(labels)).text.encode()
    assert not set(b"\n\0") & set(written)


def test_series_of_the_same_labels_are_equal() -> None:
    one, same, other = (Series((("app", app),)) for app in "aab")
    one.cache = ("x", "y")
    assert (one, hash(one)) == (same, hash(same))
    assert one != other


def test_columns_are_points() -> None:
    exemplar = Exemplar(1.0, 2.0, "a", "b")
    series = [Series((("n", str(number)),)) for number in range(3)]
    points = [Point(series[0], 5), Point(series[1], 6.5, exemplar), Point(series[2], 7)]
    columns = Numbers(series, [5, 6.5, 7], {1: exemplar})
    assert points == columns
    assert points == list(columns)
    assert (3, points[1], points[-1], points[1:], points[::-1]) == (
        len(columns),
        columns[1],
        columns[-1],
        columns[1:],
        columns[::-1],
    )
    assert columns != points[:2]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            columns[outside]


def test_columns_have_one_length() -> None:
    with pytest.raises(ValueError, match="2 series, 1 values"):
        Numbers([Series(()), Series(())], [nan])


def test_a_family_is_found_by_its_row() -> None:
    family = Family("bext_requests_total", "counter", "", "", (), catalogue.REQUESTS)
    snapshot = Snapshot(0.0, 0.0, 0.0, (Family("bext_requests_total", "counter", "", "", ()), family))
    assert family is snapshot.family(catalogue.REQUESTS)
    assert snapshot.family(catalogue.DEPLOYS) is None
