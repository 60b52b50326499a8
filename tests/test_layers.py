"""Who may know the SDK: what the import contract in pyproject.toml cannot say, since it takes no part of a
foreign package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KNOW_THE_SDK = (
    "bext_otel/metrics/",
    "bext_otel/export/",
    "bext_otel/traces/",
    "bext_otel/logs/",
    "bext_otel/runtime.py",
    "bext_otel/signals.py",
    "bext_otel/_compat.py",
)
PLAIN = ("bext_otel/catalogue.py", "bext_otel/errors.py")


def modules() -> list[str]:
    rooms = (ROOT / "bext_otel", ROOT / "instrumentors")
    return sorted(file.relative_to(ROOT).as_posix() for room in rooms for file in room.rglob("*.py"))


def imported(path: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [path for path in modules() if not path.startswith(KNOW_THE_SDK)])
def test_only_metrics_logs_export_and_the_composition_root_know_the_sdk(path: str) -> None:
    assert [] == [name for name in imported(path) if name.startswith("opentelemetry.sdk")]


@pytest.mark.parametrize("path", [path for path in modules() if not path.endswith("_compat.py")])
def test_private_upstream_names_are_in_one_place(path: str) -> None:
    hidden = [
        name
        for name in imported(path)
        if name.startswith("opentelemetry.")
        and any(part.startswith("_") and part not in {"_logs", "_events"} for part in name.split("."))
    ]
    assert [] == hidden


@pytest.mark.parametrize("path", PLAIN)
def test_what_declares_needs_the_standard_library_only(path: str) -> None:
    assert [] == [
        name
        for name in imported(path)
        if name.split(".")[0] in {"opentelemetry", "flask", "structlog", "msgspec"}
    ]
