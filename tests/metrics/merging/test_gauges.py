"""Gauges of other libraries, of several workers: as each says that they become one."""

from __future__ import annotations

import math

import pytest

from bext_otel.metrics.families import of_foreign
from bext_otel.metrics.merging.sum import Tally, compacted
from bext_otel.metrics.merging.wire import Publication, ThirdPartyFamily, ThirdPartyRow
from bext_otel.metrics.snapshot import BORN_WITH, FORKED_SINCE, GaugeMerge


def says(
    mode: GaugeMerge,
    value: float,
    *,
    pid: int,
    parent: int = 0,
    at: float = 0.0,
    published: float = 0.0,
    copied: int = 0,
) -> Publication:
    """What one worker says of a gauge `depth`."""
    rows = (ThirdPartyRow((("queue", "mail"),), value, set_at=at, copied=copied),)
    parts = [ThirdPartyFamily("depth", "gauge", "", rows, merge=mode)]
    return Publication(
        started=0.0, started_unix=0.0, published=published, foreign=parts, pid=pid, parent=parent
    )


def shown(*alive: Publication, dead: tuple[Publication, ...] = ()) -> dict[str, object]:
    """The series that any worker shows, whether somebody has taken over the dead or not."""
    found = []
    for gone in (dead, (compacted(dead, 0.0),) if dead else ()):
        tally = Tally(0.0)
        for each in alive:
            tally.add(each, alive=True)
        for each in gone:
            tally.add(each, alive=False)
        tally.settle()
        found.append(
            {
                point.series.text: point.value
                for family in of_foreign(tally.foreign)
                for point in family.points
            }
        )
    assert found[0] == found[1]
    return found[0]


MAIL = 'queue="mail"'


@pytest.mark.parametrize(
    ("mode", "living", "with_dead"), [("max", 7, 9), ("min", 3, 1), ("sum", 10, 20), ("mostrecent", 3, 3)]
)  # fmt: skip
def test_each_mode_is_the_other_librarys(mode: GaugeMerge, living: float, with_dead: float) -> None:
    """Those that begin with `live` know nothing of workers that are gone."""
    for live, expected in (("", with_dead), ("live", living)):
        named: GaugeMerge = f"{live}{mode}"  # type: ignore[assignment]
        workers = says(named, 7, pid=1, at=10.0), says(named, 3, pid=2, at=20.0)
        gone = says(named, 9, pid=3, at=5.0), says(named, 1, pid=4, at=15.0)
        assert {MAIL: expected} == shown(*workers, dead=gone) == shown(*reversed(workers), dead=gone[::-1])


def test_each_process_has_a_series_of_its_own_in_mode_all() -> None:
    for mode, gone in (("all", {f'{MAIL},pid="3"': 9}), ("liveall", {})):
        workers = says(mode, 7, pid=1), says(mode, 3, pid=2)  # type: ignore[arg-type]
        expected = {f'{MAIL},pid="1"': 7, f'{MAIL},pid="2"': 3, **gone}
        assert expected == shown(*workers, dead=(says(mode, 9, pid=3),))  # type: ignore[arg-type]


def test_of_workers_that_are_gone_no_more_than_the_newest_are_kept_apart() -> None:
    kept = compacted([says("all", pid, pid=pid, published=pid) for pid in range(100, 400)], 400.0)
    assert {f'{MAIL},pid="{pid}"' for pid in range(336, 400)} == shown(kept).keys()


def test_the_value_that_was_set_last_holds_and_not_that_which_was_published_last() -> None:
    early, late = (
        says("mostrecent", 7, pid=1, at=10.0, published=99.0),
        says("mostrecent", 3, pid=2, at=11.0, published=1.0),
    )
    assert {MAIL: 3} == shown(early, late) == shown(late, early)
    unknown = says("livemostrecent", 5, pid=3, published=100.0)
    assert {MAIL: 3} == shown(unknown, says("livemostrecent", 3, pid=2, at=11.0))
    assert {MAIL: 5} == shown(unknown, says("livemostrecent", 4, pid=2, published=50.0)), (
        "of two that nobody dates, the newest answer"
    )


def test_a_value_that_is_none_does_not_hide_the_others() -> None:
    assert {MAIL: 3} == shown(says("max", math.nan, pid=1), says("max", 3, pid=2))


def test_what_a_fork_copies_counts_in_the_workers_or_in_their_parent() -> None:
    master = says("livesum", 7, pid=1, copied=FORKED_SINCE)
    workers = [says("livesum", 7, pid=pid, parent=1, copied=BORN_WITH) for pid in (2, 3)]
    assert {MAIL: 14} == shown(master, *workers)
    assert {MAIL: 7} == shown(master), "as long as no child has told of it"
    assert {MAIL: 9} == shown(says("livesum", 9, pid=1), *workers), (
        "what the parent goes on to set is the parent's alone"
    )
    assert {MAIL: 8} == shown(master, says("livesum", 8, pid=2, parent=1))
    assert {MAIL: 7} == shown(master, says("livesum", 0, pid=5, parent=4), dead=()), (
        "a stranger's child takes nothing from it"
    )


def test_a_copy_of_a_process_that_is_gone_says_nothing() -> None:
    assert {MAIL: 7} == shown(
        says("sum", 7, pid=1), dead=(says("sum", 7, pid=2, parent=1, copied=BORN_WITH),)
    )
