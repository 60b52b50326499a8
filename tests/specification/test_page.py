"""docs/specification.md is what the tests say, and the matrix is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_page_is_current_and_each_row_has_a_test_or_a_reason() -> None:
    command = [sys.executable, "scripts/specification.py", "--check"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (found.returncode, found.stderr)


def test_no_row_of_the_matrix_is_missing() -> None:
    matrix = yaml.safe_load((Path(__file__).parent / "matrix.yaml").read_text())
    assert 326 == sum(len(rows) for section, rows in matrix.items() if section != "Beyond the rows")
