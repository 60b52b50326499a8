"""Pages of docs/ as a reader does them: each block of code whose first line names a file becomes that file."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DOCS", "blocks", "write_files"]

DOCS = Path(__file__).parent.parent / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./]+\.(?:py|toml|yml|yaml|sh))\n")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language, in their order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [code for name, code in _FENCE.findall(text) if name == language]


def write_files(page: str, folder: Path) -> list[str]:
    """Write the files that a page shows; their names."""
    names = []
    for code in (block for language in ("python", "toml", "yaml") for block in blocks(page, language)):
        if match := _FILE.match(code):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / match[1]).write_text(code, encoding="utf-8")
            names.append(match[1])
    return names
