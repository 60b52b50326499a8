"""Whoever installs the project gets all that it imports: nothing is there only because something else asks for
it today."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

# From Python 3.11 on; what is declared does not hang on the version.
tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"bext_otel", "bext_otel_instrumentors"}
# For a type checker alone.
TYPES = {"_typeshed"}
# `opentelemetry` and `google` are names that many distributions share: the files of each tell.
SHARED = {"opentelemetry", "google"}


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def _imports(package: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(package.rglob("*.py")):
        if path.parent.name == "__pyinstaller":  # PyInstaller runs these itself
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                # What is taken from a package may be a module of another distribution.
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            yield from ((name, str(path.relative_to(ROOT))) for name in names)


def _modules(requirements: list[str]) -> set[str]:
    """The modules under shared names that the distributions bring."""
    found = set()
    for requirement in requirements:
        for file in distribution(requirement).files or ():
            if file.suffix in {".py", ".so"} and file.parts[0] in SHARED:
                module = str(file).split(".")[0].replace("/", ".")
                found.add(module.removesuffix(".__init__"))
    return found


def _missing(package: Path, declared: set[str]) -> set[tuple[str, str]]:
    brings = packages_distributions()
    shared = _modules(sorted(declared & {_name(each) for names in brings.values() for each in names}))
    missing = set()
    for module, path in _imports(package):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in OWN | TYPES:
            continue
        if top in SHARED:
            # A name that is no module is something in one.
            parents = {module, module.rpartition(".")[0]}
            if not parents & shared and not any(known.startswith(f"{module}.") for known in shared):
                missing.add((module, path))
        # What is for some Pythons alone is known by its own name on the others.
        elif not {_name(each) for each in brings.get(top, [top])} & declared:
            missing.add((module, path))
    return missing


# Which extra these may import from; they are imported by whoever has it.
EXTRAS = {
    "bext_otel/cli/catalogue.py": "tools",
    "bext_otel/cli/demo.py": "tools",
    "bext_otel/cli/platform.py": "tools",
    "bext_otel/cli/ports.py": "tools",
    "bext_otel/cli/tree.py": "tools",
    "bext_otel/cli/view.py": "tools",
    "bext_otel/endpoints/flask.py": "flask",
    "bext_otel/export/declared.py": "config",
    "bext_otel/export/otlp.py": "grpc",
    "bext_otel/export/remote_sampler.py": "grpc",
    "bext_otel/metrics/process_figures.py": "tools",
    "bext_otel/mounting.py": "flask",
    "bext_otel/redaction/patterns.py": "redaction",
}


def test_all_that_bext_otel_imports_is_declared() -> None:
    declared = {_name(each) for each in PROJECT["dependencies"]}
    # The pytest plugin is for who has pytest.
    missing = {each for each in _missing(ROOT / "bext_otel", declared) if each[1] != "bext_otel/testing.py"}
    # Each of these needs the extra that it has.
    assert EXTRAS.keys() == {path for _, path in missing}
    for extra in set(EXTRAS.values()) - (
        {"redaction"} if sys.version_info >= (3, 14) else set()
    ):  # not there
        more = {_name(each) for each in PROJECT["optional-dependencies"][extra]}
        lacking = {path for _, path in _missing(ROOT / "bext_otel", declared | more)}
        assert set() == {path for path in lacking if EXTRAS.get(path) == extra}


def test_complete_is_everything_that_an_application_can_use() -> None:
    """Not the demo, nor what contributors need."""
    extras = PROJECT["optional-dependencies"]
    named = {
        name for each in extras["complete"] for name in each.partition("[")[2].partition("]")[0].split(",")
    }
    assert extras.keys() - {"complete", "demo", "test", "dev", "uwsgi"} == named


def test_no_extra_holds_a_version_that_the_base_does_not_hold() -> None:
    """Both together are asked for by the same application, and upstream's packages go hand in hand."""
    exact = [
        each
        for group in PROJECT["optional-dependencies"].values()
        for each in group
        if "==" in each.partition(";")[0]
    ]
    assert [] == exact


def test_all_that_instrumentors_import_is_declared_or_an_extra_s() -> None:
    extras = [
        each
        for name, group in PROJECT["optional-dependencies"].items()
        if name not in {"dev", "test"}
        for each in group
    ]
    declared = {_name(each) for each in (*PROJECT["dependencies"], *extras)}
    assert set() == _missing(ROOT / "instrumentors" / "bext_otel_instrumentors", declared)
