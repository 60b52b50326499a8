"""Business facts: told in one module. What comes of them and of the libraries is in
tests/e2e/test_all_metrics.py."""

from __future__ import annotations

import ast
from pathlib import Path

import bext_demo


def imports(path: Path) -> set[str]:
    """Top-level packages that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.partition(".")[0]
        for name in plain | {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    }


def test_only_one_module_knows_of_telemetry() -> None:
    modules = list(Path(bext_demo.__file__).parent.glob("*.py"))
    assert {"facts.py"} == {
        module.name
        for module in modules
        if imports(module) & {"bext_otel", "bext_otel_instrumentors", "opentelemetry"}
    }
