from __future__ import annotations

from bext_otel.once import Once


def test_each_thing_is_told_once() -> None:
    told = Once(10)
    assert [True, True, False] == [told.is_first(what) for what in ("a", ("a", 1), "a")]


def test_past_the_limit_nothing_is_told_any_more() -> None:
    told = Once(2)
    assert [True, True, False, False] == [told.is_first(number) for number in (1, 2, 3, 1)]
    assert 2 == len(told)
