"""The generated references in docs/ are what the settings and the code say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bext_otel.config.fields import fields_of
from bext_otel.config.model import (
    SECTIONS,
    AlertReceiver,
    AlertRule,
    AlertSilence,
    AppHealthSettings,
    AppSettings,
    CheckSettings,
    GroupSettings,
    ThresholdLevels,
    ThresholdSettings,
)

ROOT = Path(__file__).parent.parent.parent
_PUBLISHED = "https://github.com/bext-stack/bext-otel/blob/main/"


def check(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"scripts/{script}.py", "--check"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_reference_is_current() -> None:
    """That of the API is how one Python shows it: lint looks at that."""
    found = check("settings_reference")
    assert (0, "") == (found.returncode, found.stderr)


STRUCTS = (
    *SECTIONS.values(),
    AlertReceiver,
    AlertRule,
    AlertSilence,
    AppSettings,
    AppHealthSettings,
    CheckSettings,
    GroupSettings,
    ThresholdLevels,
    ThresholdSettings,
)


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_setting_says_what_it_means(struct: type) -> None:
    assert [] == [name for name, field in fields_of(struct).items() if not field.description.endswith(".")]


def test_every_setting_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    names = [name for struct in STRUCTS for name, field in fields_of(struct).items() if not field.struct]
    assert [] == [name for name in names if f"| `{name}` |" not in text]


def test_every_link_of_a_page_leads_to_a_page_and_a_heading() -> None:
    def anchors(page: Path) -> set[str]:
        headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        shown = [re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one)) for one in headings]
        return {one.strip().lower().replace(" ", "-") for one in shown}

    wrong = []
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            target, _, anchor = link.removeprefix(_PUBLISHED).partition("#")
            if "://" in target:
                continue
            base = ROOT if link.startswith(_PUBLISHED) else page.parent
            found = base / target if target else page
            if not found.exists() or (anchor and anchor not in anchors(found)):
                wrong.append(f"{page.name}: {link}")
    assert [] == wrong
