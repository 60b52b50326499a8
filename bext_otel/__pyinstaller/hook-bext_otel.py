"""Puts into a frozen program what is imported by name.

The instrumentors go in as they are written, and are not looked into: PyInstaller would add every library of
the environment that one of them knows, whether the program uses it or not. What they import of Python, of
OpenTelemetry and of ours is added.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points
from importlib.util import find_spec
from pathlib import Path

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

_INSTRUMENTORS = "bext_otel_instrumentors"
_ALWAYS_THERE = sys.stdlib_module_names | {"bext_otel", "opentelemetry", "wrapt", "typing_extensions"}


def _imported(package: str) -> Iterator[str]:
    """What the modules of a package import from elsewhere, of what is there in any case."""
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in Path(place).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                else:
                    continue
                yield from (name for name in names if name.partition(".")[0] in _ALWAYS_THERE)


def _of_others() -> Iterator[tuple[str, str]]:
    """The instrumentors of other packages that are installed: their modules, and who brings them."""
    for point in entry_points(group="opentelemetry_instrumentor"):
        if not point.value.startswith(_INSTRUMENTORS) and point.dist is not None:
            yield point.module, point.dist.name


def _metadata(name: str, *, recursive: bool = False) -> list[tuple[str, str]]:
    try:
        return list(copy_metadata(name, recursive=recursive))
    except (PackageNotFoundError, RuntimeError):  # something it may have, and has not
        return list(copy_metadata(name)) if recursive else []


datas = [
    *collect_data_files("bext_otel", excludes=["__pyinstaller"]),
    *collect_data_files(_INSTRUMENTORS, include_py_files=True),
    *_metadata("bext-otel", recursive=True),
]
hiddenimports = [
    *collect_submodules("bext_otel", filter=lambda name: "__pyinstaller" not in name),
    # Its folder is what `bext-otel run` puts before the program.
    "opentelemetry.instrumentation.auto_instrumentation",
    *sorted(set(_imported(_INSTRUMENTORS))),
]
for _module, _distribution in _of_others():
    hiddenimports.append(_module)
    datas += _metadata(_distribution)
