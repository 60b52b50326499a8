"""Writes bext_otel/distribution.py: what pyproject.toml says of this distribution, for a process that has no
metadata of it. `--check` changes nothing, and fails where it is not what pyproject.toml says."""

from __future__ import annotations

import sys
from pathlib import Path

import tomli

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "bext_otel" / "distribution.py"
BEGINNING = '''"""What this distribution is, and what it brings by name. scripts/distribution.py writes it.

Metadata tell the same where they are. A program that was copied, zipped or frozen may have none, and to look
into those that are there opens files.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["AWAITED", "INSTRUMENTORS", "VERSION"]
'''


def table(name: str, meaning: str, rows: dict[str, str]) -> str:
    """A dictionary, as ruff formats it."""
    lines = "".join(f'    "{key}": "{value}",\n' for key, value in rows.items())
    return f'\n{name}: Mapping[str, str] = {{\n{lines}}}\n"""{meaning}"""\n'


def text() -> str:
    """The module."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]
    return (
        BEGINNING
        + f'\nVERSION = "{project["version"]}"\n'
        + table("INSTRUMENTORS", "Our instrumentors, by name.", points["opentelemetry_instrumentor"])
        + table(
            "AWAITED",
            "The import that an instrumentor waits for, ours and upstream's, by its name.",
            points["bext_otel_awaited"],
        )
    )


def main() -> int:
    """Write it, or compare."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text():
        print(f"{TARGET.name} is not what pyproject.toml says; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
