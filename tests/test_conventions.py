"""The model of our own names is what the catalogue says, and a user's tools can read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "docs" / "semantic-conventions"


def test_the_model_is_current() -> None:
    command = [sys.executable, "scripts/semantic_conventions.py", "--check"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (found.returncode, found.stderr)


def test_each_reference_leads_to_an_attribute_and_each_id_is_there_once() -> None:
    groups = [
        group
        for name in ("attributes.yaml", "fields.yaml", "events.yaml", "metrics.yaml", "spans.yaml")
        for group in yaml.safe_load((MODEL / name).read_text())["groups"]
    ]
    ids = [group["id"] for group in groups]
    assert len(ids) == len(set(ids))
    attributes = [each for group in groups for each in group.get("attributes", ())]
    defined = {each["id"] for each in attributes if "id" in each}
    assert len(defined) == sum("id" in each for each in attributes)
    assert {each["ref"] for each in attributes if "ref" in each} <= defined
    assert all(each["brief"].endswith(".") and each["type"] for each in attributes if "id" in each)
