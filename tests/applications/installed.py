"""The applications' environments, and the checkout put on their path as if it had been installed there."""

from __future__ import annotations

import os
import stat
from importlib.metadata import distribution
from pathlib import Path

import pytest

from scripts import applications

_CHECKOUT = Path(__file__).resolve().parents[2]


def environment_of(name: str) -> Path:
    """The application's environment; skips where it is missing, and fails where BEXT_REQUIRE_APPLICATIONS=1
    promises it."""
    if not applications.is_installed(name):
        reason = f"{name} is not installed: scripts/applications.py install {name}"
        if os.environ.get("BEXT_REQUIRE_APPLICATIONS") == "1":
            pytest.fail(f"BEXT_REQUIRE_APPLICATIONS=1, but {reason}", pytrace=False)
        pytest.skip(reason)
    return applications.folder(name)


def checkout_for(environment: Path, folder: Path) -> Path:
    """A folder for PYTHONPATH that holds what installing this checkout would bring, with its entry points; the
    command is in `bin` below it."""
    folder.mkdir()
    for package in ("bext_otel", "instrumentors/bext_otel_instrumentors"):
        (folder / Path(package).name).symlink_to(_CHECKOUT / package)
    found = distribution("bext-otel")
    info = folder / f"bext_otel-{found.version}.dist-info"
    info.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (info / name).write_text(found.read_text(name) or "", encoding="utf-8")
    command = folder / "bin" / "bext-otel"
    command.parent.mkdir()
    command.write_text(
        f"#!{environment}/bin/python\nfrom bext_otel.cli import main\n\nmain()\n", encoding="utf-8"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return folder
