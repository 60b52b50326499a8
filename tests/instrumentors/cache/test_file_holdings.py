"""How much directories hold that caches keep their entries in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bext_otel.catalogue import CACHE_BYTES, CACHE_ENTRIES
from bext_otel.measuring import SHARED
from bext_otel_instrumentors.cache import file_holdings as _file_holdings
from bext_otel_instrumentors.cache.file_holdings import Directories
from tests.instrumentors.caching import gauges
from tests.instrumentors.conftest import Telemetry

ISR = ("shop", "isr")


@dataclass
class Used:
    app: str = "shop"
    layer: str = "isr"
    used: bool = True


@pytest.fixture
def known() -> Iterator[Directories]:
    made = Directories()
    yield made
    made.forget("test")


def pages(directory: Path, many: int, size: int = 10) -> None:
    for number in range(many):
        (directory / f"{number}.page").write_bytes(b"x" * size)


def is_page(name: str) -> bool:
    return name.endswith(".page")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes only by hand."""
    clock = [1000.0]
    monkeypatch.setattr(_file_holdings.time, "monotonic", lambda: clock[0])
    return clock


def test_files_that_belong_to_it_are_entries(
    telemetry: Telemetry, known: Directories, tmp_path: Path
) -> None:
    pages(tmp_path, 3)
    (tmp_path / "other").write_bytes(b"of no cache")
    (tmp_path / "directory.page").mkdir()
    known.add(str(tmp_path), Used(), is_page, group="test")
    known.add(str(tmp_path), Used(layer="layout"), is_page, group="test")
    assert {ISR: 3} == gauges(telemetry, CACHE_ENTRIES)
    assert {ISR: 30} == gauges(telemetry, CACHE_BYTES)


def test_the_directory_is_the_source_so_that_workers_count_it_once(
    telemetry: Telemetry, known: Directories, tmp_path: Path
) -> None:
    pages(tmp_path, 1)
    known.add(str(tmp_path), Used(), is_page, group="test")
    (point,) = telemetry.points(CACHE_ENTRIES).values()
    assert f"file://{tmp_path}" == point.attributes[SHARED]


def test_it_is_looked_at_every_few_seconds_at_most(
    telemetry: Telemetry, known: Directories, tmp_path: Path, now: list[float]
) -> None:
    pages(tmp_path, 1)
    known.add(str(tmp_path), Used(), is_page, group="test")
    assert {ISR: 1} == gauges(telemetry, CACHE_ENTRIES)
    pages(tmp_path, 5)
    assert {ISR: 1} == gauges(telemetry, CACHE_ENTRIES)
    now[0] += 11
    assert {ISR: 5} == gauges(telemetry, CACHE_ENTRIES)


def test_a_look_is_bounded(
    telemetry: Telemetry, known: Directories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are asked of a few files, which stand for the others; past the bound, files do not count."""
    monkeypatch.setattr(_file_holdings, "_MOST_SIZES", 7)
    monkeypatch.setattr(_file_holdings, "_MOST_FILES", 50)
    pages(tmp_path, 60)
    known.add(str(tmp_path), Used(), is_page, group="test")
    assert {ISR: 50} == gauges(telemetry, CACHE_ENTRIES)
    assert {ISR: 500} == gauges(telemetry, CACHE_BYTES)


def test_directories_are_bounded(telemetry: Telemetry, known: Directories, tmp_path: Path) -> None:
    for number in range(30):
        known.add(str(tmp_path / str(number)), Used(), is_page, group="test")
    assert 16 == len(known._known)


def test_one_that_is_not_used_or_not_there_or_forgotten_is_nothing(
    telemetry: Telemetry, known: Directories, tmp_path: Path, now: Any
) -> None:
    user = Used(used=False)
    known.add(str(tmp_path / "later"), user, is_page, group="test")
    assert {} == gauges(telemetry, CACHE_ENTRIES)
    user.used = True
    assert {ISR: 0} == gauges(telemetry, CACHE_ENTRIES)
    (tmp_path / "later").mkdir()
    pages(tmp_path / "later", 2)
    now[0] += 11
    assert {ISR: 2} == gauges(telemetry, CACHE_ENTRIES)
    known.forget("test")
    assert {} == gauges(telemetry, CACHE_ENTRIES)
