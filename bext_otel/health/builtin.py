"""Probes that most services want."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from bext_otel.health.checks import Check, found

__all__ = ["database", "disk", "isolates", "telemetry"]

_MB = 1024 * 1024
_MAX_ENTRIES = 50_000


def disk(path: str, min_free_mb: float, *, data_dir: str = "") -> Callable[[], Check]:
    """Unhealthy below `min_free_mb` mebibytes free on the file system of `path`; `data_dir`, if given, adds
    the size of what is in it.

    The size is left out for a directory of more than 50,000 entries, because finding it out would load the
    disk it watches.
    """

    def probe() -> Check:
        free_mb = shutil.disk_usage(path).free // _MB
        details: dict[str, Any] = {"free_mb": free_mb}
        if data_dir and (size := _size_of(data_dir)) is not None:
            details = {"data_dir_mb": size // _MB, **details}
        if free_mb < min_free_mb:
            return Check.unhealthy(**details, min_free_mb=min_free_mb)
        return Check.healthy(**details)

    return probe


def _size_of(directory: str) -> int | None:
    """Bytes of the files below `directory`; None if there are too many of them."""
    total = entries = 0
    open_directories = [directory]
    while open_directories:
        try:
            with os.scandir(open_directories.pop()) as found_entries:
                for entry in found_entries:
                    entries += 1
                    if entries > _MAX_ENTRIES:
                        return None
                    if entry.is_dir(follow_symlinks=False):
                        open_directories.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # deleted or closed to us meanwhile: the rest still counts
            continue
    return total


def telemetry(read_status: Callable[[], Mapping[str, Any]]) -> Callable[[], Check]:
    """What the telemetry pipeline says of itself; a `status` among its facts is the check's."""
    return lambda: found(read_status())


def database(connect: Callable[[], Any]) -> Callable[[], Check]:
    """Unhealthy if `connect`, which makes a DB-API connection, or `SELECT 1` on it raises."""

    def probe() -> Check:
        with closing(connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
        return Check.healthy()

    return probe


def isolates(active: Callable[[], int], maximum: int) -> Callable[[], Check]:
    """Unhealthy while no isolate is up. `active` counts those that are, of at most `maximum`."""

    def probe() -> Check:
        up = active()
        return Check("healthy" if up > 0 else "unhealthy", {"active": up, "max": maximum})

    return probe
