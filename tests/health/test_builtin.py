from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from bext_otel.health import Check, Health, builtin, database, disk, isolates, telemetry


def test_a_disk_with_room_is_healthy_and_says_how_much(tmp_path: Path) -> None:
    check = disk(str(tmp_path), 0)()
    assert "healthy" == check.status
    assert shutil.disk_usage(tmp_path).free // 2**20 == pytest.approx(check.details["free_mb"], abs=200)


def test_a_disk_below_the_limit_is_unhealthy_and_says_the_limit(tmp_path: Path) -> None:
    check = disk(str(tmp_path), 1e12)()
    assert ("unhealthy", 1e12) == (check.status, check.details["min_free_mb"])


def test_a_configured_directory_is_measured(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "data").write_bytes(bytes(3 * 2**20))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert 3 == disk(str(tmp_path), 0, data_dir=str(tmp_path))().details["data_dir_mb"]


def test_a_directory_too_large_to_measure_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin, "_MAX_ENTRIES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    assert ["free_mb"] == list(disk(str(tmp_path), 0, data_dir=str(tmp_path))().details)


def test_a_disk_that_is_not_there_is_a_finding() -> None:
    health = Health()
    health.register("disk", disk("/nowhere/at/all", 0))
    assert "FileNotFoundError" == health.full(wait_seconds=60).checks["disk"].details["reason"]


def test_telemetry_shows_what_the_pipeline_says() -> None:
    assert Check.healthy(dropped=0) == telemetry(lambda: {"dropped": 0})()
    assert Check.degraded(dropped=9) == telemetry(lambda: {"status": "degraded", "dropped": 9})()


def test_a_database_that_answers_is_healthy() -> None:
    assert Check.healthy() == database(lambda: sqlite3.connect(":memory:"))()


def test_a_database_that_cannot_be_opened_is_unhealthy() -> None:
    health = Health()
    health.register("database", database(lambda: sqlite3.connect("/nowhere/at/all.db")))
    assert ("OperationalError", 503) == (
        health.ready(wait_seconds=60).checks["database"].details["reason"],
        health.ready(wait_seconds=60).http_status,
    )


def test_a_database_connection_is_closed_again() -> None:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    database(lambda: connection)()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_isolates_are_healthy_as_soon_as_one_is_up() -> None:
    assert Check.unhealthy(active=0, max=100) == isolates(lambda: 0, 100)()
    assert Check.healthy(active=1, max=100) == isolates(lambda: 1, 100)()
