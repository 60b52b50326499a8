"""The settings reference in docs/ is what the settings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bext_otel.config.fields import fields_of
from bext_otel.config.model import NAMED, SECTIONS

ROOT = Path(__file__).parent.parent.parent


def check() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/settings_reference.py", "--check"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_reference_is_current() -> None:
    found = check()
    assert (0, "") == (found.returncode, found.stderr)


@pytest.mark.parametrize("struct", [*SECTIONS.values(), *NAMED.values()])
def test_every_setting_says_what_it_means(struct: type) -> None:
    assert [] == [name for name, field in fields_of(struct).items() if not field.description.endswith(".")]


def test_every_setting_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    names = [name for struct in (*SECTIONS.values(), *NAMED.values()) for name in fields_of(struct)]
    assert [] == [name for name in names if f"| `{name}` |" not in text]
